import type { KubeObject } from '../kubernetes/control-plane.ts';
import { parseAllDocuments } from 'yaml';
import type { ClusterNetwork } from './cluster-network.ts';

const SYSTEM = 'kube-system';
/** On each node's own disk (worker-node.ts). */
const VOLUMES = '/var/lib/local-path';
/**
 * Of volumes as most CSI drivers make them: they belong to root, and the kubelet gives them to a pod's fsGroup. Those of the
 * default class are open to everybody, and fsGroup does nothing to them, as with directories of a node and NFS.
 */
export const FOR_GROUPS_CLASS = 'for-groups';

/** What a cluster has beside its control plane and nodes: rights of the nodes' programs, DNS, and volumes. */
export function addOns(network: ClusterNetwork): readonly KubeObject[] {
  return parseAllDocuments(`${RIGHTS}---\n${dns(network.dnsAddress)}---\n${VOLUME_PROVISIONER}`).map(
    (document) => document.toJS() as KubeObject,
  );
}

const RIGHTS = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: kube-proxy}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'system:node-proxier'}
subjects: [{kind: User, name: 'system:kube-proxy', apiGroup: rbac.authorization.k8s.io}]
`;

/** As most clusters have it: answers are kept for 30 s, those about Services that have just changed too. */
const dns = (address: string): string => `
apiVersion: v1
kind: ServiceAccount
metadata: {name: coredns, namespace: ${SYSTEM}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: 'system:coredns'}
rules:
  - {apiGroups: [''], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
  - {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: 'system:coredns'}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'system:coredns'}
subjects: [{kind: ServiceAccount, name: coredns, namespace: ${SYSTEM}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: ${SYSTEM}}
data:
  Corefile: |
    .:53 {
        errors
        health {
            lameduck 5s
        }
        ready
        kubernetes cluster.local in-addr.arpa ip6.arpa {
            pods insecure
            ttl 30
        }
        cache 30
        reload
    }
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: coredns, namespace: ${SYSTEM}, labels: {k8s-app: kube-dns}}
spec:
  replicas: 1
  selector: {matchLabels: {k8s-app: kube-dns}}
  template:
    metadata: {labels: {k8s-app: kube-dns}}
    spec:
      serviceAccountName: coredns
      priorityClassName: system-cluster-critical
      dnsPolicy: Default
      tolerations: [{key: node.kubernetes.io/unschedulable, operator: Exists}]
      containers:
        - name: coredns
          image: registry.k8s.io/coredns/coredns:v1.12.4
          imagePullPolicy: IfNotPresent
          args: [-conf, /etc/coredns/Corefile]
          resources: {requests: {cpu: 50m, memory: 70Mi}, limits: {memory: 170Mi}}
          volumeMounts: [{name: config, mountPath: /etc/coredns, readOnly: true}]
          ports:
            - {containerPort: 53, name: dns, protocol: UDP}
            - {containerPort: 53, name: dns-tcp, protocol: TCP}
          livenessProbe: {httpGet: {path: /health, port: 8080}, initialDelaySeconds: 30}
          readinessProbe: {httpGet: {path: /ready, port: 8181}, periodSeconds: 2}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            runAsUser: 0
            capabilities: {add: [NET_BIND_SERVICE], drop: [ALL]}
      volumes: [{name: config, configMap: {name: coredns}}]
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: ${SYSTEM}, labels: {k8s-app: kube-dns}}
spec:
  selector: {k8s-app: kube-dns}
  clusterIP: ${address}
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
`;

/** https://github.com/rancher/local-path-provisioner: directories of a node's disk, bound when the first pod is placed. */
const VOLUME_PROVISIONER = `
apiVersion: v1
kind: Namespace
metadata: {name: local-path-storage}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: local-path-provisioner, namespace: local-path-storage}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: local-path-provisioner, namespace: local-path-storage}
rules:
  - {apiGroups: [''], resources: [pods], verbs: [get, list, watch, create, patch, update, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: local-path-provisioner}
rules:
  - apiGroups: ['']
    resources: [nodes, persistentvolumeclaims, configmaps, pods, pods/log]
    verbs: [get, list, watch]
  - apiGroups: ['']
    resources: [persistentvolumes]
    verbs: [get, list, watch, create, patch, update, delete]
  - {apiGroups: [''], resources: [events], verbs: [create, patch]}
  - {apiGroups: [storage.k8s.io], resources: [storageclasses], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: local-path-provisioner, namespace: local-path-storage}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: local-path-provisioner}
subjects: [{kind: ServiceAccount, name: local-path-provisioner, namespace: local-path-storage}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: local-path-provisioner}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: local-path-provisioner}
subjects: [{kind: ServiceAccount, name: local-path-provisioner, namespace: local-path-storage}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: local-path-config, namespace: local-path-storage}
data:
  config.json: |
    {"nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": ["${VOLUMES}"]}]}
  setup: |
    #!/bin/sh
    set -eu
    case "$VOL_DIR" in
      */${FOR_GROUPS_CLASS}/*) mode=0755 ;;
      *) mode=0777 ;;
    esac
    mkdir -m "$mode" -p "$VOL_DIR"
  teardown: |
    #!/bin/sh
    set -eu
    rm -rf "$VOL_DIR"
  helperPod.yaml: |
    apiVersion: v1
    kind: Pod
    metadata: {name: helper-pod}
    spec:
      priorityClassName: system-node-critical
      tolerations:
        - {key: node.kubernetes.io/disk-pressure, operator: Exists, effect: NoSchedule}
        - {key: node.kubernetes.io/unschedulable, operator: Exists}
      containers:
        - {name: helper-pod, image: 'docker.io/library/busybox:1.37', imagePullPolicy: IfNotPresent}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local-path, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}
provisioner: rancher.io/local-path
volumeBindingMode: WaitForFirstConsumer
reclaimPolicy: Delete
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: ${FOR_GROUPS_CLASS}, annotations: {defaultVolumeType: local}}
provisioner: rancher.io/local-path
parameters: {pathPattern: '${FOR_GROUPS_CLASS}/{{ .PVName }}'}
volumeBindingMode: WaitForFirstConsumer
reclaimPolicy: Delete
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: local-path-provisioner, namespace: local-path-storage}
spec:
  replicas: 1
  selector: {matchLabels: {app: local-path-provisioner}}
  template:
    metadata: {labels: {app: local-path-provisioner}}
    spec:
      serviceAccountName: local-path-provisioner
      tolerations: [{key: node.kubernetes.io/unschedulable, operator: Exists}]
      containers:
        - name: local-path-provisioner
          image: docker.io/rancher/local-path-provisioner:v0.0.30
          imagePullPolicy: IfNotPresent
          command: [local-path-provisioner, start, --config, /etc/config/config.json]
          volumeMounts: [{name: config, mountPath: /etc/config/}]
          env:
            - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
            - {name: SERVICE_ACCOUNT_NAME, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
            - {name: CONFIG_MOUNT_PATH, value: /etc/config/}
      volumes: [{name: config, configMap: {name: local-path-config}}]
`;
