import { Questions, type Replies } from '../../core/questions.ts';
import type { Json, Replicas, ReplicaTopic } from '../../core/replicas.ts';

/** Entries of one message, and the size they may have together: half of what the bus takes. */
const ENTRIES_MAX = 50;
const PIECE_MAX_BYTES = 16 * 1024;
/** Questions that are repeated wait for each other this long. */
const REPEAT_BATCH_MS = 50;

export interface ReplicaQuestionsOptions<Question, Answer> {
  readonly replicas: Replicas;
  readonly topic: ReplicaTopic;
  /** What other replicas send, of whatever release. Null: not such a question, or answer. */
  readonly parseQuestion: (value: Json) => Question | null;
  readonly parseAnswer: (value: Json, from: string) => Answer | null;
  /** Questions of other replicas that are being answered at the same time; one beyond gets no answer. */
  readonly answeringMax: number;
  /** Messages may be lost: ask again at this interval. Then replicas that start later are asked, too. Default: ask once. */
  readonly repeatMs?: number;
  /** Default: each replica answers once. */
  readonly isFinal?: (answer: Answer) => boolean;
  /** Such an answer makes the others unnecessary. */
  readonly isEnough?: (answer: Answer) => boolean;
}

interface Entry {
  readonly id: number;
  readonly value: unknown;
}

/** Questions about one topic to all other live replicas, over the bus between replicas, and answers to theirs. */
export class ReplicaQuestions<Question, Answer> {
  readonly #options: ReplicaQuestionsOptions<Question, Answer>;
  readonly #questions = new Questions<string, Answer>();
  /** Questions of others that are being answered, by replica and ID: a repeated question is not a new one. */
  readonly #answering = new Set<string>();
  readonly #outbox: Outbox;

  constructor(options: ReplicaQuestionsOptions<Question, Answer>) {
    const { replicas, topic } = options;
    this.#options = options;
    this.#outbox = new Outbox((message) => replicas.publish(topic, message));
  }

  /** Questions and answers must be values of JSON. Resolves at once when there is no other replica. */
  ask(
    question: Question,
    { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  ): Promise<Replies<string, Answer>> {
    const { repeatMs, isFinal, isEnough } = this.#options;
    const asked = this.#others();
    let isRepeated = false;
    return this.#questions.ask({
      parties: repeatMs === undefined ? () => asked : () => this.#others(),
      say: (id) => {
        this.#outbox.addQuestion({ id, value: question }, isRepeated);
        isRepeated = true;
        return true;
      },
      timeoutMs,
      signal,
      ...(repeatMs === undefined ? {} : { repeatMs }),
      ...(isFinal === undefined ? {} : { isFinal }),
      ...(isEnough === undefined ? {} : { isEnough }),
    });
  }

  /** `answer` must not reject; null: no reply. Hears answers to our own questions, too. Returns how to stop listening. */
  listen(answer: (question: Question) => Promise<Answer | null>): () => void {
    const { replicas, topic, parseQuestion, parseAnswer } = this.#options;
    return replicas.listen(topic, (message, from) => {
      for (const { id, value } of entriesIn(message, 'questions')) {
        const question = parseQuestion(value);
        if (question !== null) void this.#reply(from, id, answer, question);
      }
      if (fieldOf(message, 'to') !== replicas.id) return;
      for (const { id, value } of entriesIn(message, 'answers')) {
        const parsed = parseAnswer(value, from);
        if (parsed !== null) this.#questions.answered(from, id, parsed);
      }
    });
  }

  async #reply(
    from: string,
    id: number,
    answer: (question: Question) => Promise<Answer | null>,
    question: Question,
  ): Promise<void> {
    const key = `${id} ${from}`;
    if (this.#answering.has(key) || this.#answering.size >= this.#options.answeringMax) return;
    this.#answering.add(key);
    const reply = await answer(question);
    this.#answering.delete(key);
    if (reply !== null) this.#outbox.addAnswer(from, { id, value: reply });
  }

  #others(): readonly string[] {
    const { replicas } = this.#options;
    return replicas.live().flatMap(({ id }) => (id === replicas.id ? [] : [id]));
  }
}

/** Sends what comes within one turn of the event loop together, in messages of a bounded size. */
class Outbox {
  readonly #publish: (message: Json) => void;
  #questions: Entry[] = [];
  readonly #answers = new Map<string, Entry[]>();
  #isDue = false;
  #later: NodeJS.Timeout | undefined;

  constructor(publish: (message: Json) => void) {
    this.#publish = publish;
  }

  addQuestion(entry: Entry, isRepeated: boolean): void {
    this.#questions.push(entry);
    if (isRepeated) this.#later ??= setTimeout(() => this.#flush(), REPEAT_BATCH_MS);
    else this.#flushSoon();
  }

  addAnswer(to: string, entry: Entry): void {
    this.#answers.set(to, [...(this.#answers.get(to) ?? []), entry]);
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (!this.#isDue) setImmediate(() => this.#flush());
    this.#isDue = true;
  }

  #flush(): void {
    clearTimeout(this.#later);
    this.#later = undefined;
    this.#isDue = false;
    const questions = this.#questions;
    const answers = [...this.#answers];
    this.#questions = [];
    this.#answers.clear();
    for (const piece of pieces(questions)) this.#publish({ questions: piece });
    for (const [to, entries] of answers) for (const piece of pieces(entries)) this.#publish({ to, answers: piece });
  }
}

function pieces(entries: readonly Entry[]): readonly (readonly Json[])[] {
  const all: Json[][] = [];
  let sizeBytes = Infinity;
  for (const entry of entries) {
    const text = JSON.stringify(entry);
    const bytes = Buffer.byteLength(text);
    const last = all.at(-1);
    if (last === undefined || last.length >= ENTRIES_MAX || sizeBytes + bytes > PIECE_MAX_BYTES) {
      all.push([JSON.parse(text) as Json]);
      sizeBytes = bytes;
    } else {
      last.push(JSON.parse(text) as Json);
      sizeBytes += bytes;
    }
  }
  return all;
}

function entriesIn(message: Json, name: string): readonly { readonly id: number; readonly value: Json }[] {
  const list = fieldOf(message, name);
  if (!Array.isArray(list)) return [];
  return (list as readonly Json[]).slice(0, ENTRIES_MAX).flatMap((entry) => {
    const [id, value] = [fieldOf(entry, 'id'), fieldOf(entry, 'value')];
    return typeof id === 'number' && Number.isSafeInteger(id) && value !== undefined ? [{ id, value }] : [];
  });
}

/** Undefined: not an object, or it has no such field. */
export function fieldOf(value: Json, name: string): Json | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.hasOwn(value, name) ? (value as Readonly<Record<string, Json>>)[name] : undefined;
}
