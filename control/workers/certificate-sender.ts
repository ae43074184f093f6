import type { Socket } from 'node:net';
import { CERTIFICATES_PIECE, type ControlMessage } from '../../core/feed-protocol.ts';
import type { ServedCertificate } from '../../core/certificates.ts';
import type { CertificateChange, ServedCertificates } from './served-certificates.ts';

/**
 * Sends the certificates to one worker: all of them first, piece by piece as the worker reads (ten thousand of them are
 * 40 MB), then what changes.
 */
export function sendCertificates(
  served: ServedCertificates,
  socket: Socket,
  send: (message: ControlMessage) => void,
): {
  readonly stop: () => void;
  /** The worker says what it has. */
  readonly challengesApplied: (number: number) => void;
} {
  /** What changed while the pieces were on their way; null = nothing is on its way. */
  let meanwhile: CertificateChange[] | null = null;
  let isStarted = false;
  let appliedChallenges = -1;

  const sendAll = async (): Promise<void> => {
    isStarted = true;
    meanwhile = [];
    send({ kind: 'certificates-begin' });
    const all = [...served.all()];
    for (let at = 0; at < all.length; at += CERTIFICATES_PIECE) {
      const set: readonly ServedCertificate[] = all.slice(at, at + CERTIFICATES_PIECE);
      send({ kind: 'certificates', set, removed: [] });
      if (socket.writableNeedDrain) await drained(socket);
      if (socket.destroyed) return;
    }
    send({ kind: 'certificates-end' });
    for (const change of meanwhile) send({ kind: 'certificates', ...change });
    meanwhile = null;
    sendChallenges();
  };
  const sendChallenges = (): void => {
    send({ kind: 'challenges', number: served.challengesNumber, challenges: served.challenges });
  };

  const unfollow = served.follow({
    changed(change) {
      if (meanwhile !== null) meanwhile.push(change);
      else if (isStarted) send({ kind: 'certificates', ...change });
    },
    challengesChanged() {
      if (isStarted && meanwhile === null) sendChallenges();
    },
    get appliedChallenges() {
      return appliedChallenges;
    },
    becameReady: () => void sendAll(),
  });
  if (served.isReady) void sendAll();
  return { stop: unfollow, challengesApplied: (number) => void (appliedChallenges = number) };
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done).off('close', done);
      resolve();
    };
    socket.on('drain', done).on('close', done);
  });
}
