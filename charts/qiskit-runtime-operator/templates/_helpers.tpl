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

{{- /* The full name of an image; the argument is a list of its name and the root. */ -}}
{{- define "operator.image" -}}
{{- $root := index . 1 -}}
{{- $registry := $root.Values.images.registry -}}
{{ if $registry }}{{ $registry }}/{{ end }}{{ index . 0 }}:{{ $root.Values.images.tag | default $root.Chart.AppVersion }}
{{- end -}}

{{- /* What all pods of the chart have. */ -}}
{{- define "operator.pod" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
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
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "operator.container" -}}
image: {{ include "operator.image" (list .Values.images.operator .) }}
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

{{- /* What is needed wherever there are RuntimeServers. */ -}}
{{- define "operator.rules" -}}
- apiGroups: [runtimeserver.dev]
  resources: [runtimeservers]
  verbs: [list, watch]
- apiGroups: [runtimeserver.dev]
  resources: [runtimeservers/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: &kept [create, delete, get, list, patch, watch]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: *kept
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: *kept
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: *kept
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: *kept
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: *kept
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [create, get, list, patch, watch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, get]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}
