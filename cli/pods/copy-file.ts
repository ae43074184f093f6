import { basename } from 'node:path';
import type { Target } from '../target/target.ts';
import { type CopiedFile, downloadTo, uploadTo } from '../target/transfer.ts';
import { podPath } from './pod.ts';

/** To a pod. Throws CliError. `file`: of this machine. */
export async function uploadFile(
  target: Target,
  podId: string,
  { file, path }: { readonly file: string; readonly path: string },
): Promise<CopiedFile> {
  const { result } = await uploadTo(target, podPath(podId, '/upload_to_pod'), { file, fields: { dest_path: path } });
  return result as CopiedFile;
}

/** From a pod, as downloadTo. */
export async function downloadFile(
  target: Target,
  podId: string,
  { path, file }: { readonly path: string; readonly file: string },
): Promise<CopiedFile> {
  const call = podPath(podId, `/download_from_pod?path=${encodeURIComponent(path)}`);
  return await downloadTo(target, call, { file, name: basename(path) });
}
