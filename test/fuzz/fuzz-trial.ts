import { METHODS } from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { parseArgs } from 'node:util';
import { runInNewContext } from 'node:vm';
import { examineRequest } from '../../proxy/protocols/http/exchange/examine.ts';
import { parseRequestHead, type RequestHead } from '../../proxy/protocols/http/wire/head.ts';
import { Chance } from '../sim/scheduler.ts';
import { HTTP_TOKENS, httpParsers, REQUESTS, SERVER_NAME, textParsers } from './http-parsers.ts';
import { type FuzzedParser, problemWith, splitProblem, verdictOn } from './laws.ts';
import { mutated } from './mutator.ts';
import { NodeOracle } from './node-oracle.ts';
import { streamParsers } from './stream-parsers.ts';
import { useParsers } from './use-parsers.ts';

const HELP = `fuzz-trial: feeds every parser of untrusted bytes, and the rules for what counts as use of a pod, with valid inputs, truncated at every byte, and with mutated inputs.
No parser may throw, change its verdict on a prefix, give a different verdict for input in pieces, wait for more bytes
than its limit, be slow, or leak memory. Node's parser must read what the HTTP reader accepts in the same way.

  node test/fuzz/fuzz-trial.ts [--cases 1000000] [--seed N] [--only NAME]

  --cases N    mutated inputs for each parser
  --only NAME  only parsers whose name contains NAME

Exit codes: 0 every check passed, 1 a check failed, 2 usage error.`;

/** One input may take this long, on a machine that others use too. */
const LONGEST_MS = 5_000;
const GROWTH_MAX_MIB = 32;
/** Of all verdicts, at the least: else nothing was tried. */
const SHARE_MIN = 0.001;
const ORACLE = 'HTTP request head beside Node';

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      cases: { type: 'string', default: '1000000' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      only: { type: 'string', default: '' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const [cases, seed] = [Number(values.cases), Number(values.seed)];
  if (![cases, seed].every((value) => Number.isInteger(value) && value >= 0)) {
    console.error(HELP);
    return 2;
  }
  console.log(`fuzz trial: ${cases} inputs for each parser, seed ${seed}`);
  const parsers = [...(await streamParsers()), ...useParsers(), ...httpParsers(), ...textParsers()];
  const chosen = parsers.filter(({ name }) => name.includes(values.only));
  const problems: string[] = [];
  for (const parser of chosen) problems.push(...tryParser(parser, cases, new Chance(seed)));
  if (ORACLE.includes(values.only)) problems.push(...(await besideNode(cases, new Chance(seed))));
  for (const problem of problems) console.error(`PROBLEM: ${problem}`);
  console.log(problems.length === 0 ? 'all held' : `${problems.length} did not hold`);
  return problems.length === 0 ? 0 : 1;
}

function tryParser(parser: FuzzedParser, cases: number, chance: Chance): readonly string[] {
  for (const seed of parser.seeds) {
    const problem = splitProblem(parser, seed);
    if (problem !== null) return [`${parser.name}: ${problem}: ${shown(seed)}`];
  }
  const counts = { match: 0, reject: 0, 'need-more': 0 };
  const before = memoryMiB();
  const startedMs = performance.now();
  let longestMs = 0;
  for (let number = 0; number < cases; number++) {
    const bytes = mutated(parser, chance);
    const beganMs = performance.now();
    const problem = problemWith(parser, bytes, chance);
    longestMs = Math.max(longestMs, performance.now() - beganMs);
    if (problem !== null) return [`${parser.name}: input ${number}: ${problem}: ${shown(bytes)}`];
    counts[verdictOn(parser, bytes).kind]++;
  }
  const growth = memoryMiB() - before;
  console.log(
    `  ${parser.name}: ${parser.seeds.length} valid inputs cut everywhere; ${counts.match} taken, ${counts.reject} refused, ` +
      `${counts['need-more']} unfinished; longest ${longestMs.toFixed(1)} ms, ${growth.toFixed(1)} MiB kept, ` +
      `${((performance.now() - startedMs) / 1_000).toFixed(1)} s`,
  );
  const problems: string[] = [];
  if (longestMs > LONGEST_MS) problems.push(`${parser.name}: one input took ${longestMs.toFixed(0)} ms`);
  if (growth > GROWTH_MAX_MIB) problems.push(`${parser.name}: ${growth.toFixed(1)} MiB were kept`);
  const isTried = [counts.match, cases - counts.match].every((count) => count >= cases * SHARE_MIN);
  if (!isTried && parser.name !== 'path of the metrics' && parser.name !== 'Set-Cookie')
    problems.push(`${parser.name}: nearly all inputs fared alike`);
  return problems;
}

/** What we take, Node reads the same, with its end in the same place, or refuses for a reason that is known. */
async function besideNode(cases: number, chance: Chance): Promise<readonly string[]> {
  const oracle = new NodeOracle();
  const counts = { same: 0, refused: 0, 'not-comparable': 0, 'not taken': 0 };
  const material = { seeds: REQUESTS, tokens: HTTP_TOKENS };
  const startedMs = performance.now();
  for (let number = 0; number < cases; number++) {
    // A head ends at its first empty line.
    const [text = ''] = `${mutated(material, chance).toString('latin1')}\r\n\r\n`.split('\r\n\r\n', 1);
    const head = parseRequestHead(text);
    const examined = head.kind === 'match' ? examineRequest(head.value, SERVER_NAME) : null;
    if (head.kind !== 'match' || examined?.kind !== 'good') {
      counts['not taken']++;
      continue;
    }
    const comparison = await oracle.compare(text, head.value, examined.framing);
    if (comparison.kind === 'differs')
      return [`${ORACLE}: input ${number}: ${comparison.how}: ${JSON.stringify(text)}`];
    if (comparison.kind === 'refused' && !isKnownToBeRefused(head.value, text)) {
      return [`${ORACLE}: input ${number}: we take it, Node refuses it: ${JSON.stringify(text)}`];
    }
    counts[comparison.kind]++;
  }
  console.log(
    `  ${ORACLE}: ${counts.same} read the same, ${counts.refused} refused by Node, ${counts['not-comparable']} too long to send, ` +
      `${counts['not taken']} not taken by us; ${((performance.now() - startedMs) / 1_000).toFixed(1)} s`,
  );
  return counts.same > cases * SHARE_MIN ? [] : [`${ORACLE}: nothing was compared`];
}

/**
 * Node knows a fixed list of methods, wants ASCII where browsers of old sent the bytes of a name as they were, and takes
 * no tab behind a transfer coding, which RFC 9110 5.5 allows and which we take off. Of minor versions it knows 0 and 1; to
 * pods every request says 1.1.
 */
function isKnownToBeRefused({ method, url }: RequestHead, text: string): boolean {
  if (/^.* HTTP\/1\.[2-9]/.test(text)) return true;
  return !METHODS.includes(method) || /[\x80-\xff]/.test(url) || /transfer-encoding:\s*chunked *\t/i.test(text);
}

function memoryMiB(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 2 ** 20;
}

function shown(bytes: Buffer): string {
  return bytes.length > 2_000 ? `${bytes.toString('hex', 0, 2_000)}... (${bytes.length} bytes)` : bytes.toString('hex');
}

process.exitCode = await main();
