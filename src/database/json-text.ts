import { type EntityProperty, JsonType, type Platform } from '@mikro-orm/core'

/**
 * Stores JSON as the text it was given: `json` on PostgreSQL, since `jsonb` reorders keys, and `text` on SQLite, where a
 * column named `json` would turn the text `1e2` into a number.
 */
export class JsonTextType extends JsonType {
  override getColumnType(_property: EntityProperty, platform: Platform): string {
    return platform.getJsonDeclarationSQL() === 'jsonb' ? 'json' : 'text'
  }
}
