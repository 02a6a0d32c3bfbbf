import type { MigrationObject } from '@mikro-orm/core'
import { Migration } from '@mikro-orm/migrations'
import { bucketCount } from '../event/ordering-key.ts'

class CreateRelayTables extends Migration {
  override up(): void {
    this.addSql(`create table "outbox_leases" (
      "bucket" int not null, "owner" uuid null, "epoch" bigint not null default 0, "leased_until" timestamptz(3) null,
      primary key ("bucket")
    )`)
    this.addSql(`insert into "outbox_leases" ("bucket") select generate_series(0, ${bucketCount - 1})`)
    this.addSql(`create table "outbox_relays" (
      "id" uuid not null, "name" varchar(100) not null, "publisher" varchar(100) not null,
      "started_at" timestamptz(3) not null, "expires_at" timestamptz(3) not null,
      primary key ("id")
    )`)
    // Apart from the registrations: it is written with each batch, and they are read by all relays each second.
    this.addSql(`create table "outbox_progress" (
      "relay" uuid not null, "generation" int not null default 0, "in_flight" json null,
      "redrives" int not null default 0, "marks" bigint not null default 0,
      primary key ("relay", "generation")
    )`)
    this.addSql(`create table "outbox_failures" (
      "event_id" uuid not null, "attempt" int not null, "failed_at" timestamptz(3) not null, "error" text not null,
      primary key ("event_id", "attempt")
    )`)
    this.addSql(`create table "outbox_dead_letters" (
      "id" uuid not null,
      "event_type" varchar(100) not null,
      "aggregate_type" varchar(100) not null,
      "aggregate_id" varchar(36) not null,
      "payload" json not null,
      "headers" json not null,
      "sequence" bigint not null,
      "ordering_key" varchar(255) null,
      "bucket" int not null,
      "schema_version" int not null,
      "created_at" timestamptz(3) not null,
      "attempts" int not null,
      "reason" varchar(20) not null,
      "error" text not null,
      "history" json not null,
      "blocks_key" boolean not null,
      "dead_at" timestamptz(3) not null,
      primary key ("id")
    )`)
    this.addSql('create index "outbox_dead_letters_blocking_index" on "outbox_dead_letters" ("bucket") where blocks_key')
    this.addSql('create index "outbox_dead_letters_dead_at_index" on "outbox_dead_letters" ("dead_at")')
  }

  override down(): void {
    for (const table of ['outbox_dead_letters', 'outbox_failures', 'outbox_progress', 'outbox_relays', 'outbox_leases']) {
      this.addSql(`drop table "${table}"`)
    }
  }
}

class AddRelayProgress extends Migration {
  override up(): void {
    this.addSql('alter table "outbox_relays" add column "rates" json null')
    // Room for the second version of most rows on their own page: a mark then logs what it changed, and not the payload again.
    this.addSql('alter table "domain_events" set (fillfactor = 60)')
  }

  override down(): void {
    this.addSql('alter table "outbox_relays" drop column "rates"')
    this.addSql('alter table "domain_events" reset (fillfactor)')
  }
}

/**
 * What a relay asks when it is woken. To plan it would take twice as long as to run it, and a function keeps its plan: also behind a
 * pooler in transaction mode, where prepared statements are lost. A plan made while the table was small must serve when it is
 * large, so it may not read all of it.
 */
const createFetch = `create or replace function domain_events_fetch(buckets int[], behind bigint[], quota int, most int, reader uuid, since int)
  returns table (
    id uuid, event_type varchar, aggregate_type varchar, aggregate_id varchar, payload text, headers text, ordering_key varchar,
    bucket int, sequence text, schema_version int, attempts int, created_ms float8, wait_ms float8, suspect int, redrives int, marks float8
  ) language plpgsql set enable_seqscan = off as $$
  #variable_conflict use_column
  begin
    return query with e as materialized (
      select e.* from unnest(buckets, behind) as s(bucket, last) cross join lateral (
        select * from domain_events where status = 'pending' and bucket = s.bucket and sequence > s.last order by sequence limit quota
      ) as e order by e.sequence limit most
    ), note as (
      update outbox_progress set in_flight = array_to_json(array(select e.sequence::text from e order by e.sequence))
      where relay = reader and generation >= since and (select bool_and(e.last_error is null and (e.available_at is null or e.available_at <= now())) from e)
        and set_config('synchronous_commit', 'off', true) = 'off'
      returning redrives, marks::float8 as marks
    )
    select e.id, e.event_type, e.aggregate_type, e.aggregate_id, e.payload::text, e.headers::text, e.ordering_key, e.bucket,
      e.sequence::text, e.schema_version, e.attempts, floor(extract(epoch from e.created_at) * 1000)::float8,
      ceil(extract(epoch from e.available_at - now()) * 1000)::float8,
      case when e.last_error like 'RELAY_CRASHED%' then 1 else 0 end, note.redrives, note.marks
    from e left join note on true order by e.sequence;
  end $$`

class AddFetch extends Migration {
  override up(): void {
    this.addSql(createFetch)
  }

  override down(): void {
    this.addSql('drop function if exists domain_events_fetch')
  }
}

/** The relay's own tables on PostgreSQL. */
export const relayMigrationsPostgresql: readonly MigrationObject[] = [
  { name: 'data-access-002-outbox-relay', class: CreateRelayTables },
  { name: 'data-access-003-relay-progress', class: AddRelayProgress },
  { name: 'data-access-004-fetch', class: AddFetch },
]
