// A test image as a process of its own: `node behaviour-main.ts IMAGE`, its input as JSON in STANDIN_INPUT.
import { BEHAVIOURS, type BehaviourInput } from './behaviours.ts';

const behaviour = BEHAVIOURS[process.argv[2] ?? ''];
if (behaviour === undefined) throw new Error(`no such image: ${process.argv[2] ?? ''}`);
const input = JSON.parse(process.env['STANDIN_INPUT'] ?? '') as BehaviourInput;
const told = new AbortController();
process.on('SIGTERM', () => told.abort());
// Nothing else keeps a process alive that waits for a signal.
setInterval(() => undefined, 1 << 30);
const never = new AbortController().signal;
const print = (text: string) => void process.stdout.write(text);
process.exit(await behaviour(input, print, { told: told.signal, killed: never }));
