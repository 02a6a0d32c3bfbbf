import { Migration } from '@mikro-orm/migrations'
import type { MigrationDefinition } from '../database/migrations.ts'

// Frozen: a migration that has run must not change with the code that follows it.
const uuidInLowerCase = `length(id || '') = 36 and ltrim(id || '','0123456789abcdef-') = ''`

class CreateAssessmentTables extends Migration {
  override up(): void {
    this.addSql(`create table "users" (
      "id" uuid not null,
      "email" varchar(255) not null,
      "name" varchar(255) not null,
      "occupation_code" varchar(20) null,
      "education_level" varchar(50) null,
      "years_experience" double precision null,
      "created_at" timestamptz(3) not null,
      "updated_at" timestamptz(3) not null,
      primary key ("id"),
      constraint "users_email_unique" unique ("email"),
      constraint "users_id_check" check (${uuidInLowerCase}),
      constraint "users_email_check" check (length(email) <= 255),
      constraint "users_name_check" check (length(name) <= 255),
      constraint "users_occupation_code_check" check (length(occupation_code) <= 20),
      constraint "users_education_level_check" check (length(education_level) <= 50)
    )`)
    this.addSql(`create table "assessments" (
      "id" uuid not null,
      "user_id" uuid not null,
      "status" varchar(20) not null default 'in_progress',
      "component" varchar(50) not null,
      "current_ability" double precision not null default 0,
      "items_administered" int not null default 0,
      "created_at" timestamptz(3) not null,
      "updated_at" timestamptz(3) not null,
      primary key ("id"),
      constraint "assessments_user_id_foreign" foreign key ("user_id") references "users" ("id") on delete cascade,
      constraint "assessments_id_check" check (${uuidInLowerCase}),
      constraint "assessments_status_check" check (length(status) <= 20),
      constraint "assessments_component_check" check (length(component) <= 50)
    )`)
    this.addSql('create index "assessments_user_id_index" on "assessments" ("user_id")')
    this.addSql(`create table "air_scores" (
      "id" uuid not null,
      "user_id" uuid not null,
      "occupation_code" varchar(20) not null,
      "air_score" double precision not null,
      "vr_score" double precision not null,
      "hr_score" double precision not null,
      "synergy_score" double precision not null,
      "ci_lower" double precision not null,
      "ci_upper" double precision not null,
      "parameter_version" varchar(20) not null,
      "calculation_metadata" jsonb not null default '{}',
      "created_at" timestamptz(3) not null,
      "updated_at" timestamptz(3) not null,
      primary key ("id"),
      constraint "air_scores_user_id_foreign" foreign key ("user_id") references "users" ("id") on delete cascade,
      constraint "air_scores_id_check" check (${uuidInLowerCase}),
      constraint "air_scores_occupation_code_check" check (length(occupation_code) <= 20),
      constraint "air_scores_parameter_version_check" check (length(parameter_version) <= 20)
    )`)
    this.addSql('create index "air_scores_user_id_index" on "air_scores" ("user_id")')
  }

  override down(): void {
    this.addSql('drop table "air_scores"')
    this.addSql('drop table "assessments"')
    this.addSql('drop table "users"')
  }
}

/** The assessment module's tables on PostgreSQL, in order. */
export const assessmentMigrationsPostgresql: readonly MigrationDefinition[] = [
  { name: 'assessment-001-users-and-scores', class: CreateAssessmentTables },
]
