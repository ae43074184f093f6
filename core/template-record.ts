import type { StoredEnvironment } from './environment.ts';
import type { PermissionLevel } from './pod.ts';

/** Greater than any time: keys count down from it, so that the newest tag comes first. */
const END_OF_TIME_MS = 9_999_999_999_999;

/** A template made by a user: a name under which definitions of pods are published as tags. */
export interface TemplateRecord {
  readonly uid: string;
  readonly tenant: string;
  readonly templateId: string;
  readonly createdBy: string;
  /** Grows with every change that its users make. It is the ETag. */
  readonly generation: number;
  readonly description: string;
  readonly metatags: readonly string[];
  /** Shown to those who use it; '' = it is not archived. */
  readonly archiveMessage: string;
  readonly permissions: Readonly<Record<string, PermissionLevel>>;
  /** Not null: its tags are being removed; the record goes last. */
  readonly deleting: object | null;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** A definition of pods, published under a template. It never changes. */
export interface TemplateTagRecord {
  readonly uid: string;
  readonly tenant: string;
  readonly templateId: string;
  readonly createdBy: string;
  readonly tag: string;
  /** Of its timestamp, a whole second: no two tags of one name and template share it. */
  readonly createdAtMs: number;
  readonly commitMessage: string;
  /** The fields of a pod under their names on the wire, without its environment variables. */
  readonly definition: Readonly<Record<string, unknown>>;
  /** Sealed with the uid of the tag. */
  readonly environmentVariables: StoredEnvironment;
  /** The tag of another template that it is based on; null: none, or a template of the program. */
  readonly parent: string | null;
}

export function templateKey(tenant: string, templateId: string): string {
  return `${tenant}/${templateId}`;
}

/** Tags of one template are in the order of their keys, newest first. */
export function templateTagKey({
  tenant,
  templateId,
  tag,
  createdAtMs,
}: Pick<TemplateTagRecord, 'tenant' | 'templateId' | 'tag' | 'createdAtMs'>): string {
  return `${templateKey(tenant, templateId)}/${String(END_OF_TIME_MS - createdAtMs).padStart(13, '0')}/${tag}`;
}

/** Index entry of what is based on a tag: pods, and tags of other templates. `key`: of the tag. */
export function basedOnIndex(key: string): string {
  return `based-on:${key}`;
}

/** `tag@YYYY-MM-DD-HH:MM:SS`, as Tapis writes it. */
export function tagTimestamp({ tag, createdAtMs }: Pick<TemplateTagRecord, 'tag' | 'createdAtMs'>): string {
  return `${tag}@${new Date(createdAtMs).toISOString().slice(0, 19).replace('T', '-')}`;
}

/** What a pod names: `id:tag@timestamp`. */
export function tagReference(record: Pick<TemplateTagRecord, 'templateId' | 'tag' | 'createdAtMs'>): string {
  return `${record.templateId}:${tagTimestamp(record)}`;
}

/** Which tag is meant; without a tag the one called `latest`, without a time the newest. */
export interface ParsedReference {
  readonly templateId: string;
  readonly tag: string;
  readonly createdAtMs: number | null;
}

const REFERENCE =
  /^([a-z][a-z0-9-]{1,126}[a-z0-9])(?::([a-zA-Z0-9.-]{1,80})(?:@(\d{4}-\d\d-\d\d)-(\d\d:\d\d:\d\d))?)?$/;

/** Null: it is not the name of a user's template. */
export function parseTemplateReference(text: string): ParsedReference | null {
  const [, templateId, tag = 'latest', day, time] = REFERENCE.exec(text) ?? [];
  if (templateId === undefined) return null;
  if (day === undefined || time === undefined) return { templateId, tag, createdAtMs: null };
  const createdAtMs = Date.parse(`${day}T${time}Z`);
  return Number.isNaN(createdAtMs) ? null : { templateId, tag, createdAtMs };
}
