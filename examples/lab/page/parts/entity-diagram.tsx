import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { EntityPicture } from '../../contract/entities.ts'

/** Entities as cards, and a line from each foreign key to the entity that it leads to. */
export function EntityDiagram(props: { readonly entities: readonly EntityPicture[] }) {
  const place = useRef<HTMLDivElement>(null)
  const [paths, setPaths] = useState<readonly string[]>([])
  useLayoutEffect(() => {
    const element = place.current
    if (element === null) return
    const draw = () => setPaths(pathsIn(element))
    draw()
    const resized = new ResizeObserver(draw)
    resized.observe(element)
    return () => resized.disconnect()
  }, [props.entities])
  return (
    <div class="diagram" ref={place}>
      <svg aria-hidden="true">
        <title>Relations</title>
        <defs>
          <marker id="many" viewBox="0 0 10 10" refX="0" refY="5" markerWidth="9" markerHeight="9" orient="auto">
            <path d="M10 0 0 5l10 5" />
          </marker>
        </defs>
        {paths.map((path) => (
          <path key={path} d={path} marker-start="url(#many)" />
        ))}
      </svg>
      {props.entities.map((entity) => (
        <Entity key={entity.name} entity={entity} />
      ))}
    </div>
  )
}

function Entity({ entity }: { readonly entity: EntityPicture }) {
  return (
    <section class="entity" data-entity={entity.name} aria-label={`Entity ${entity.name}`}>
      <h3>
        {entity.name} <small>{entity.table}</small>
      </h3>
      <ul>
        {entity.columns.map((column) => (
          <li key={column.name} data-references={column.references ?? undefined}>
            <span class="column">
              {column.name}
              {column.primary && <abbr title="primary key">PK</abbr>}
              {column.references !== null && <abbr title={`foreign key to ${column.references}`}>FK</abbr>}
              {column.unique && <abbr title="unique">UQ</abbr>}
            </span>
            <span class="type">
              {column.type}
              {column.nullable ? '?' : ''}
            </span>
          </li>
        ))}
        {entity.collections.map((collection) => (
          <li key={collection.name} class="collection">
            <span class="column">{collection.name}</span>
            <span class="type">1 : n {collection.entity}</span>
          </li>
        ))}
      </ul>
    </section>
  )
}

/** A line for each foreign key: beside the cards where they stand in one column, between them otherwise. */
function pathsIn(diagram: HTMLElement): string[] {
  const origin = diagram.getBoundingClientRect()
  return [...diagram.querySelectorAll<HTMLElement>('[data-references]')].flatMap((row, index) => {
    const target = diagram.querySelector<HTMLElement>(`[data-entity="${row.dataset.references}"]`)
    const owner = row.closest<HTMLElement>('.entity')
    if (target === null || owner === null) return []
    const from = owner.getBoundingClientRect()
    const to = target.getBoundingClientRect()
    const y = row.getBoundingClientRect().top + row.offsetHeight / 2 - origin.top
    const head = to.top - origin.top + 22
    if (Math.abs(from.left - to.left) < 4) {
      const lane = from.left - origin.left - 8 - index * 5
      return [`M${from.left - origin.left} ${y}H${lane}V${head}H${to.left - origin.left}`]
    }
    // Up the gap before the owner, over the cards between the two, and down into the other one.
    const gap = from.left - origin.left - 18
    const above = Math.min(from.top, to.top) - origin.top - 12 - index * 8
    return [`M${from.left - origin.left} ${y}H${gap}V${above}H${to.right - origin.left - 30 - index * 14}V${to.top - origin.top}`]
  })
}
