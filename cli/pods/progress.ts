import { oneLine } from '../output/table.ts';
import { paint } from '../output/style.ts';

/** What a starting pod goes through, in this order. */
const STAGES = ['queued', 'spawner', 'container', 'ready', 'routable'] as const;
export type Stage = (typeof STAGES)[number];

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const REDRAW_MS = 100;

/** Shows how far a pod is: one live line on a terminal, plain lines elsewhere. It ends with `end`. */
export interface Progress {
  /** `detail`: what the orchestrator says about it, '' = nothing. */
  at(stage: Stage | 'stopping', detail: string): void;
  end(): void;
}

export const SILENT_PROGRESS: Progress = { at: () => undefined, end: () => undefined };

export function createProgress(podId: string, stream: NodeJS.WriteStream = process.stderr): Progress {
  return stream.isTTY && process.env['TERM'] !== 'dumb' ? liveProgress(podId, stream) : plainProgress(podId, stream);
}

function plainProgress(podId: string, stream: NodeJS.WriteStream): Progress {
  const startMs = performance.now();
  let last = '';
  return {
    at(stage, detail) {
      const text = `${stage}${detail === '' ? '' : `: ${oneLine(detail)}`}`;
      if (text === last) return;
      last = text;
      stream.write(`${podId}: ${text} (${seconds(performance.now() - startMs)})\n`);
    },
    end: () => undefined,
  };
}

function liveProgress(podId: string, stream: NodeJS.WriteStream): Progress {
  let stage: Stage | 'stopping' = 'queued';
  let detail = '';
  let sinceMs = performance.now();
  const took = new Map<Stage | 'stopping', number>();
  let frame = 0;
  const draw = (): void => {
    const before = ['stopping' as const, ...STAGES].filter((each) => took.has(each) && each !== stage);
    const done = before.map((each) => `✓ ${each} ${seconds(took.get(each) ?? 0)}`);
    const now = `${FRAMES[frame++ % FRAMES.length] ?? ''} ${stage} ${seconds(performance.now() - sinceMs)}`;
    const text = [podId, ...done, now, detail].filter((part) => part !== '').join('  ');
    // A line that wrapped could not be drawn over.
    const shown = text.slice(0, Math.max(20, (stream.columns || 80) - 1));
    stream.write(`\r\u001b[K${paint('cyan', shown, stream)}`);
  };
  const timer = setInterval(draw, REDRAW_MS);
  return {
    at(next, saying) {
      if (next !== stage) {
        took.set(stage, performance.now() - sinceMs);
        [stage, sinceMs] = [next, performance.now()];
      }
      detail = oneLine(saying);
      draw();
    },
    end() {
      clearInterval(timer);
      stream.write('\r\u001b[K');
    },
  };
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
