import type { V1NetworkPolicy, V1NetworkPolicyEgressRule, V1NetworkPolicyPeer } from '@kubernetes/client-node';
import { LABEL, MANAGED_BY, objectName } from '../objects.ts';
import { commitAnnotation, type ManifestContext, runLabels } from './metadata.ts';

/**
 * Where the cluster's own inside is, by the private ranges: nodes, pods, services, the API server, the metadata address
 * of clouds (169.254.169.254), Redis and the control port.
 */
const INSIDE_IPV4 = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24'],
  ...['192.168.0.0/16', '198.18.0.0/15', '224.0.0.0/4', '240.0.0.0/4'],
];
/**
 * All that is global unicast, and so nothing private or link-local, nor NAT64 (64:ff9b::/96), by which an IPv4 address of
 * the inside could be written as another. 6to4 (2002::/16) is the one such way within it.
 */
const OUTSIDE_IPV6 = '2000::/3';
const INSIDE_IPV6 = ['2002::/16'];
const IS_OUTSIDE_IPV6 = /^[23][0-9a-f]{3}:/i;

/**
 * The pod takes connections from gateways only, on the ports of its networking; it reaches the outside and the names of
 * the cluster, but nothing inside. A local_only stanza is how a pod asks to be reached by the others of its tenant.
 */
export function networkPolicyManifest(context: ManifestContext): V1NetworkPolicy {
  const { workload, settings } = context;
  const { networking } = workload.spec;
  const portsWhere = (isLocal: boolean) => [
    ...new Set(
      Object.values(networking)
        .filter(({ protocol }) => (protocol === 'local_only') === isLocal)
        .map(({ port }) => port),
    ),
  ];
  const ingress = [
    { from: [gateways(context)], ports: portsWhere(false) },
    { from: [tenantsPods(context)], ports: portsWhere(true) },
  ].filter(({ ports }) => ports.length > 0);
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: {
      name: objectName(settings.site, workload),
      labels: runLabels(context),
      annotations: commitAnnotation(context),
    },
    spec: {
      podSelector: { matchLabels: { [MANAGED_BY]: 'podgate', [LABEL.site]: settings.site, [LABEL.uid]: workload.uid } },
      policyTypes: ['Ingress', 'Egress'],
      ingress: ingress.map(({ from, ports }) => ({ from, ports: ports.map((port) => ({ protocol: 'TCP', port })) })),
      egress: egressOf(context),
    },
  };
}

/** Where NodeLocal DNSCache listens unless it is told otherwise. */
const NODE_LOCAL_DNS = '169.254.20.10/32';

/**
 * The name servers of usual clusters, and the given ones. What a cluster does not have allows nothing there. A policy sees
 * the pod behind a Service, but NodeLocal DNSCache is no pod of the pod network: only its address names it.
 */
export function nameServerRules(nameServers: readonly string[]): V1NetworkPolicyEgressRule[] {
  const ports = (port: number) => [
    { protocol: 'UDP', port },
    { protocol: 'TCP', port },
  ];
  const addresses = [NODE_LOCAL_DNS, ...nameServers].map((cidr) => ({ ipBlock: { cidr } }));
  return [
    {
      to: [{ namespaceSelector: {}, podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } } }, ...addresses],
      ports: ports(53),
    },
    {
      // OpenShift's listen on another port behind their Service.
      to: [
        {
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'openshift-dns' } },
          podSelector: { matchLabels: { 'dns.operator.openshift.io/daemonset-dns': 'default' } },
        },
      ],
      ports: ports(5353),
    },
  ];
}

function gateways({ settings }: ManifestContext): V1NetworkPolicyPeer {
  return {
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': settings.gateway.namespace } },
    podSelector: { matchLabels: { ...settings.gateway.labels } },
  };
}

function tenantsPods({ workload, settings }: ManifestContext): V1NetworkPolicyPeer {
  return {
    podSelector: {
      matchLabels: { [MANAGED_BY]: 'podgate', [LABEL.site]: settings.site, [LABEL.tenant]: workload.tenant },
    },
  };
}

function egressOf({ workload, settings }: ManifestContext): V1NetworkPolicyEgressRule[] {
  return [
    ...nameServerRules(settings.nameServers),
    {
      to: [
        {
          podSelector: {
            matchLabels: {
              [MANAGED_BY]: 'podgate',
              [LABEL.site]: settings.site,
              [LABEL.tenant]: workload.tenant,
              [LABEL.local]: 'yes',
            },
          },
        },
      ],
    },
    outsideRule(settings.egressExcept),
  ];
}

/** Whatever is outside the cluster, but the given networks. */
export function outsideRule(egressExcept: readonly string[]): V1NetworkPolicyEgressRule {
  const isIpv6 = (block: string): boolean => block.includes(':');
  return {
    to: [
      {
        ipBlock: {
          cidr: '0.0.0.0/0',
          except: [...INSIDE_IPV4, ...egressExcept.filter((block) => !isIpv6(block))],
        },
      },
      {
        ipBlock: {
          cidr: OUTSIDE_IPV6,
          // The API server refuses an exception that lies outside.
          except: [...INSIDE_IPV6, ...egressExcept.filter((block) => IS_OUTSIDE_IPV6.test(block))],
        },
      },
    ],
  };
}
