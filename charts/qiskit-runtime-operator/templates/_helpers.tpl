{{- /* The name of everything: the release's, with the chart's in it. */ -}}
{{- define "operator.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" (.Release.Name | trunc 26 | trimSuffix "-") .Chart.Name }}
{{- end -}}
{{- end -}}

{{- define "operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "operator.labels" -}}
{{ include "operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* The full name of an image; the argument is a list of its key in .Values.images and the root. */ -}}
{{- define "operator.image" -}}
{{- $key := index . 0 -}}
{{- $root := index . 1 -}}
{{- $images := $root.Values.images -}}
{{- $tag := $images.tag | default $root.Chart.AppVersion -}}
{{- /* A number of a values file is a float, which would be written as 2.0261129e+07. */ -}}
{{- if kindIs "float64" $tag }}{{ $tag = printf "%.0f" $tag }}{{ end -}}
{{- $digest := index ($images.digests | default dict) $key -}}
{{ with $images.registry }}{{ . }}/{{ end }}{{ index $images $key }}{{ if $digest }}@{{ $digest }}{{ else }}:{{ $tag }}{{ end }}
{{- end -}}

{{- /* What all pods of the chart have. */ -}}
{{- define "operator.pod" -}}
securityContext:
  runAsNonRoot: true
  {{- if ne (.Values.userAssignment | default "Fixed") "Platform" }}
  runAsUser: 10001
  runAsGroup: 10001
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "operator.container" -}}
image: {{ include "operator.image" (list "operator" .) }}
imagePullPolicy: {{ .Values.images.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
# The last line of the log says why one has ended.
terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}

{{- /* Of what runs before an upgrade: rights and file first, then the Job; nothing of it stays. */ -}}
{{- define "operator.crdsMetadata" -}}
name: {{ include "operator.name" . }}-crds
labels:
  {{- include "operator.labels" . | nindent 2 }}
annotations:
  helm.sh/hook: pre-upgrade
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- /* What is needed wherever there are RuntimeServers. The comments make docs/reference/permissions.md. */ -}}
{{- define "operator.rules" -}}
# to see what is wanted
- apiGroups: [runtimeserver.dev]
  resources: [runtimeservers]
  verbs: [list, watch]
# to say what there is
- apiGroups: [runtimeserver.dev]
  resources: [runtimeservers/status]
  verbs: [patch]
# to run the pods of the api and of the executors, to repair their Deployments, and to remove those not wanted any more
- apiGroups: [apps]
  resources: [deployments]
  verbs: &kept [create, delete, get, list, patch, watch]
# to give the pods their settings, identities without rights, and names
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: *kept
# to let clients in from outside, and nobody else
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: *kept
# to let executors claim GPUs by Dynamic Resource Allocation
- apiGroups: [resource.k8s.io]
  resources: [resourceclaimtemplates]
  verbs: *kept
# to keep most pods running while nodes are emptied
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: *kept
# to let clients in from outside through a Gateway
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: *kept
# to have certificates signed by cert-manager
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: *kept
# to have metrics read
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: *kept
# to have a volume for the embedded database; it is never deleted
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [create, get, list, patch, watch]
# to make the keys and certificates of each RuntimeServer, to change and renew them, and to ask its api how busy it is
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, get, update]
# to say why pods do not come up, and to mark those with jobs, so that others are removed first
- apiGroups: [""]
  resources: [pods]
  verbs: [list, patch, watch]
# to tell of transitions
- apiGroups: [""]
  resources: [events]
  verbs: [create]
# to see whether another operator, which has claimed a RuntimeServer, is gone
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get]
{{- end -}}

{{- /* What is needed of the cluster itself, where the operator looks after all namespaces. */ -}}
{{- define "operator.clusterRules" -}}
# to say that the class of an Ingress does not exist, and which ones do
- apiGroups: [networking.k8s.io]
  resources: [ingressclasses]
  verbs: [list]
{{- end -}}

{{- /* What is needed where the operator runs. */ -}}
{{- define "operator.leaseRules" -}}
# to make the Lease that decides which of the operators works
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
# to take the Lease, and to hold it
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "operator.name" . }}]
  verbs: [get, update]
{{- end -}}

{{- /* What is needed for a moment, before an upgrade. */ -}}
{{- define "operator.crdsRules" -}}
# to bring the CRD of RuntimeServers up to date
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [runtimeservers.runtimeserver.dev]
  verbs: [get, update]
{{- end -}}
