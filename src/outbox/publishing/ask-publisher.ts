import {
  checkOutcomes,
  type OutboxEvent,
  type Outcome,
  outcomeOfError,
  type PublishContext,
  type Publisher,
} from './publisher.ts'

/** Gets one outcome for each event from a publisher, whatever it does. Never rejects. */
export async function askPublisher(
  publisher: Publisher,
  events: readonly OutboxEvent[],
  context: PublishContext,
): Promise<Outcome[]> {
  try {
    // A list of its own, and frozen: had it sorted ours in place, outcomes would be given to the wrong events.
    const answer = await publisher.publish(Object.freeze([...events]), context)
    return checkOutcomes(publisher.name, events, answer)
  } catch (error) {
    return events.map(() => outcomeOfError(error))
  }
}
