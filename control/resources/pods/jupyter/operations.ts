import { z } from 'zod';

import { DEFAULT_STANZA } from '../../../../core/ids.ts';
import { PodgateError } from '../../../../core/errors.ts';
import { type PodRecord, type StatusNames, statusName } from '../../../../core/pod.ts';
import type { Operation } from '../../../http/operation.ts';
import { UPLOAD_LIMITS } from '../files/operations.ts';
import { podIdOf, STATUS_NAMES, statusNamesOf } from '../pod-query.ts';
import { networkingAnswer, PodAnswer, type PublicPlace } from '../response.ts';
import { ensureJupyterPod, isJupyterPod, JUPYTER_TEMPLATE, type JupyterParts } from './ensure-pod.ts';

const UPLOAD_FIELD = 'path';
const MESSAGES = {
  found: 'Retrieved existing Jupyter pod successfully.',
  started: 'Started existing Jupyter pod successfully.',
  created: 'Created new Jupyter pod successfully.',
} as const;

const { pod_id, status, networking } = PodAnswer.shape;
const JupyterPod = z.object({ pod_id, status, networking, url: z.string().describe('Where a browser opens it.') });
const Uploaded = z.object({
  upload_path: z.string().describe('Absolute, in the pod.'),
  pod_name: z.string(),
  url: z.string(),
});

export interface JupyterOperationParts extends JupyterParts {
  readonly placeOf: (tenant: string) => PublicPlace;
  /** Where a call does not say which it wants. */
  readonly statusNames: StatusNames;
}

export function jupyterOperations(parts: JupyterOperationParts): readonly Operation[] {
  const { pods } = parts;
  const shared = { tag: 'Jupyter' } as const;
  const networkingOf = (record: PodRecord): z.output<typeof networking> =>
    networkingAnswer(record, parts.placeOf(record.tenant));
  const urlOf = (record: PodRecord): string => {
    const stanza = networkingOf(record)[DEFAULT_STANZA];
    if (stanza === undefined || stanza.url === '') return '';
    return new URL(`https://${stanza.url}:${stanza.public_port}`).origin;
  };
  return [
    {
      ...shared,
      access: 'token',
      operationId: 'ensure_jupyter_pod',
      alsoRefuses: ['api.not-found', 'api.conflict'],
      methods: ['get'],
      path: '/pods/jupyter/ensure',
      getActs: true,
      summary:
        `Your Jupyter pod, made from the template '${JUPYTER_TEMPLATE}' of your tenant: the one that is ON, else a stopped ` +
        'one, which is started, else a new one.',
      query: [STATUS_NAMES],
      result: JupyterPod,
      handle: async ({ caller, query }) => {
        const names = statusNamesOf(query, parts.statusNames);
        const { record, how } = await ensureJupyterPod(parts, caller);
        return {
          kind: 'json',
          message: MESSAGES[how],
          result: {
            pod_id: record.podId,
            status: statusName(record.status, names),
            networking: networkingOf(record),
            url: urlOf(record),
          },
        };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'upload_to_jupyter',
      methods: ['post'],
      path: '/pods/jupyter/{pod_id}/upload',
      summary: 'Writes a file below the working directory of a running Jupyter pod. USER.',
      takesFile: true,
      formFields: { [UPLOAD_FIELD]: 'Relative to the working directory; of a directory: the file keeps its name.' },
      result: Uploaded,
      limits: UPLOAD_LIMITS,
      handle: async (call) => {
        const record = await pods.get(call.caller, podIdOf(call));
        if (!isJupyterPod(record)) {
          throw new PodgateError('api.invalid', {
            publicMessages: [
              `pod_id: ${record.podId} was not made from the template '${JUPYTER_TEMPLATE}'. upload_to_pod writes to any pod.`,
            ],
          });
        }
        const request = { podId: record.podId, signal: call.signal, isForUsers: true, pathField: UPLOAD_FIELD };
        const { path } = await pods.files.write(call.caller, request, call.receiveFile);
        return {
          kind: 'json',
          message: 'File uploaded successfully.',
          result: { upload_path: path, pod_name: record.podId, url: urlOf(record) },
        };
      },
    },
  ];
}
