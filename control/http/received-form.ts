/** What a form says beside the bytes of its file. */
export interface ReceivedForm {
  /** As the client named the file; '' if it did not. */
  readonly filename: string;
  /** Values of the fields before the file. */
  readonly fields: ReadonlyMap<string, string>;
  /** Those of all fields, once the bytes of the file have been taken. */
  readonly allFields: () => Promise<ReadonlyMap<string, string>>;
}
