/** Which tag a pod was made from. */
export interface TemplateOrigin {
  /** `id:tag@timestamp`. */
  readonly reference: string;
  /** What was changed of it; null: nothing. */
  readonly overrides: TemplateOverrides | null;
}

/** By path, and by key. */
export interface TemplateOverrides {
  /** Fields of a mount, in camel case. */
  readonly volumeMounts?: Readonly<Record<string, object>>;
  readonly secretMap?: Readonly<Record<string, string>>;
}
