/** Which pod's workload. The name of a workload is made from site, tenant and pod id; the uid tells whose it is. */
export interface WorkloadRef {
  readonly tenant: string;
  readonly podId: string;
  readonly uid: string;
}
