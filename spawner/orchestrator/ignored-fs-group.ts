/**
 * New volumes belong to root. The kubelet gives them to the pod's group (fsGroup) where the driver of the storage class lets
 * it. With one that does not, only volumes that everybody may write to are of use.
 */
export const IGNORED_FS_GROUP =
  "The volume cannot be written to: it does not belong to the pod's group, since its storage class ignores fsGroup. An " +
  'operator must choose a storage class that honors fsGroup, or one whose volumes everybody may write to.';
