import { randomBytes } from 'node:crypto';
import { Transform } from 'node:stream';
import type { ExecOptions, ExecOutput } from '../../../core/shell.ts';
import { inputFrames } from './input-frames.ts';
import { MarkedOutput } from './marked-output.ts';

/** What may be the beginning of a mark is held back until more comes: commands rarely print this. */
const MARK_BEGINS = '\x1e';
const ASKS_FOR_INPUT = '+';
const EXIT_CODE = /^\d{1,3}$/;

/**
 * The caller's part of what is said with an EXEC_SCRIPT: it sends input when asked for it, takes the script's lines out of
 * what the command prints, and learns from them how the command has ended.
 */
export class ExecDialogue {
  /** Resolves with the command's exit code, as a shell has it, when all that it has printed has been received. */
  readonly ended: Promise<number>;
  readonly #mark = `${MARK_BEGINS}${randomBytes(16).toString('hex')}`;
  readonly #outputs: Readonly<Record<keyof ExecOutput, MarkedOutput>>;
  /** Resolves with true when a frame of input may be sent, with false when none will be any more. */
  #room = Promise.withResolvers<boolean>();
  #send: (bytes: Uint8Array) => Promise<void> = () => Promise.resolve();
  /** Resolves when all that has been sent was handed over, with false when the other side has gone. */
  #sent: Promise<boolean> = Promise.resolve(true);
  #isFinished = false;

  constructor() {
    const ended = Promise.withResolvers<number>();
    this.ended = ended.promise;
    let streams = 0;
    const said = (line: string): boolean => {
      if (line === ASKS_FOR_INPUT) this.#room.resolve(true);
      if (!EXIT_CODE.test(line)) return false;
      streams += 1;
      if (streams === 2) ended.resolve(Number(line));
      return true;
    };
    const mark = Buffer.from(this.#mark);
    this.#outputs = { stdout: new MarkedOutput(mark, said), stderr: new MarkedOutput(mark, said) };
  }

  /** What the command itself has printed, of what has been received. */
  printed(name: keyof ExecOutput, received: Buffer): Buffer {
    return this.#outputs[name].take(received);
  }

  /** What was held back of it, where nothing more will be received. */
  rest(name: keyof ExecOutput): Buffer {
    return this.#outputs[name].rest();
  }

  /** What the command itself has printed as a stream, to pipe into it what is received. Ends when the command has ended. */
  printedStream(name: keyof ExecOutput): Transform {
    const output = this.#outputs[name];
    return new Transform({
      transform(received: Buffer, _, done) {
        const printed = output.take(received);
        if (printed.length > 0) this.push(printed);
        if (output.isOver) this.push(null);
        done();
      },
      flush(done) {
        const rest = output.rest();
        if (rest.length > 0) this.push(rest);
        done();
      },
    });
  }

  /**
   * Gives the go-ahead and sends the input. `send` resolves when there is room for more, and may reject once the other side
   * has gone. `failed` gets what the input throws.
   */
  async start(
    input: ExecOptions['input'],
    send: (bytes: Uint8Array) => Promise<void>,
    failed: (error: unknown) => void,
  ): Promise<void> {
    this.#send = send;
    const isEmpty = input === undefined || (input instanceof Uint8Array && input.length === 0);
    void this.#say(`${this.#mark} ${isEmpty ? 'none' : 'input'}\n`);
    if (isEmpty) return;
    try {
      for await (const frame of inputFrames(input)) {
        if (!(await this.#mayFrame())) return;
        this.#room = Promise.withResolvers();
        if (!(await this.#say(Buffer.concat([Buffer.from(`${frame.length}\n`), frame])))) return;
      }
    } catch (error) {
      failed(error);
      return;
    }
    if (await this.#mayFrame()) await this.#say('0\n');
  }

  /** Sends no more input, and has the script end with all that its command has left behind. */
  finish(): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.#room.resolve(false);
    void this.#say('end\n');
  }

  async #mayFrame(): Promise<boolean> {
    return (await this.#room.promise) && !this.#isFinished;
  }

  #say(bytes: Uint8Array | string): Promise<boolean> {
    const all = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    this.#sent = this.#sent.then((isThere) =>
      !isThere
        ? false
        : this.#send(all).then(
            () => true,
            () => false,
          ),
    );
    return this.#sent;
  }
}
