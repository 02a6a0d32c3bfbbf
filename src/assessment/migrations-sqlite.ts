import { Migration } from '@mikro-orm/migrations'
import type { MigrationDefinition } from '../database/migrations.ts'

// Frozen: a migration that has run must not change with the code that follows it.
const uuidInLowerCase = `length(id || '') = 36 and ltrim(id || '','0123456789abcdef-') = ''`

/**
 * MikroORM reads table definitions back by their text: a constraint must follow a comma and one space, and must not contain
 * them, else every schema comparison sees a change.
 */
class CreateAssessmentTables extends Migration {
  override up(): void {
    this.addSql(`create table \`users\` (
      \`id\` text not null primary key,
      \`email\` text check (length(email) <= 255) not null,
      \`name\` text check (length(name) <= 255) not null,
      \`occupation_code\` text check (length(occupation_code) <= 20) null,
      \`education_level\` text check (length(education_level) <= 50) null,
      \`years_experience\` double null,
      \`created_at\` datetime not null,
      \`updated_at\` datetime not null, constraint \`users_id_check\` check (${uuidInLowerCase})
    )`)
    this.addSql('create unique index `users_email_unique` on `users` (`email`)')
    this.addSql(`create table \`assessments\` (
      \`id\` text not null primary key,
      \`user_id\` text not null,
      \`status\` text check (length(status) <= 20) not null default 'in_progress',
      \`component\` text check (length(component) <= 50) not null,
      \`current_ability\` double not null default 0,
      \`items_administered\` integer not null default 0,
      \`created_at\` datetime not null,
      \`updated_at\` datetime not null, \
constraint \`assessments_user_id_foreign\` foreign key (\`user_id\`) references \`users\` (\`id\`) on delete cascade, \
constraint \`assessments_id_check\` check (${uuidInLowerCase})
    )`)
    this.addSql('create index `assessments_user_id_index` on `assessments` (`user_id`)')
    this.addSql(`create table \`air_scores\` (
      \`id\` text not null primary key,
      \`user_id\` text not null,
      \`occupation_code\` text check (length(occupation_code) <= 20) not null,
      \`air_score\` double not null,
      \`vr_score\` double not null,
      \`hr_score\` double not null,
      \`synergy_score\` double not null,
      \`ci_lower\` double not null,
      \`ci_upper\` double not null,
      \`parameter_version\` text check (length(parameter_version) <= 20) not null,
      \`calculation_metadata\` json not null default '{}',
      \`created_at\` datetime not null,
      \`updated_at\` datetime not null, \
constraint \`air_scores_user_id_foreign\` foreign key (\`user_id\`) references \`users\` (\`id\`) on delete cascade, \
constraint \`air_scores_id_check\` check (${uuidInLowerCase})
    )`)
    this.addSql('create index `air_scores_user_id_index` on `air_scores` (`user_id`)')
  }

  override down(): void {
    this.addSql('drop table `air_scores`')
    this.addSql('drop table `assessments`')
    this.addSql('drop table `users`')
  }
}

/** The assessment module's tables on SQLite, in order. */
export const assessmentMigrationsSqlite: readonly MigrationDefinition[] = [
  { name: 'assessment-001-users-and-scores', class: CreateAssessmentTables },
]
