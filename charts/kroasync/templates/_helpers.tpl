{{- define "kroasync.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "kroasync.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kroasync.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "kroasync.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "kroasync.selectorLabels" -}}
app.kubernetes.io/name: {{ include "kroasync.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kroasync.labels" -}}
{{- if .Values.metadata.includeHelmChart -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ end -}}
{{ include "kroasync.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
{{- if .Values.metadata.includeManagedBy }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
app.kubernetes.io/component: controller
app.kubernetes.io/part-of: kroasync
{{- with .Values.additionalLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "kroasync.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- if .Values.image.digest -}}
{{- printf "%s:%s@%s" .Values.image.repository $tag .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository $tag -}}
{{- end -}}
{{- end -}}

{{- define "kroasync.healthPort" -}}
{{- regexFind "[0-9]+$" .Values.config.healthProbeBindAddress -}}
{{- end -}}

{{- /* Empty when metrics are not served. */ -}}
{{- define "kroasync.metricsPort" -}}
{{- $port := regexFind "[0-9]+$" .Values.config.metricsBindAddress -}}
{{- if ne $port "0" -}}{{ $port }}{{- end -}}
{{- end -}}

{{- define "kroasync.leaseNamespace" -}}
{{- .Values.config.leaderElectionNamespace | default .Release.Namespace -}}
{{- end -}}

{{- /* What cannot work is refused at install time. */ -}}
{{- define "kroasync.check" -}}
{{- if and (gt (int .Values.deployment.replicaCount) 1) (not .Values.config.enableLeaderElection) -}}
{{- fail "deployment.replicaCount above 1 needs config.enableLeaderElection: without it every replica would act" -}}
{{- end -}}
{{- if and .Values.metrics.service.create (not (include "kroasync.metricsPort" .)) -}}
{{- fail "metrics.service.create needs metrics: config.metricsBindAddress is 0" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service.create) -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.service.create" -}}
{{- end -}}
{{- end -}}

{{- /* The flags of `kroasync run`, one per line. */ -}}
{{- define "kroasync.args" -}}
- run
- --metrics-bind-address={{ .metricsBindAddress }}
- --health-probe-bind-address={{ .healthProbeBindAddress }}
- --allow-crd-deletion={{ .allowCRDDeletion }}
- --leader-elect={{ .enableLeaderElection }}
{{- if .enableLeaderElection }}
{{- with .leaderElectionNamespace }}
- --leader-election-namespace={{ . }}
{{- end }}
- --leader-election-lease-duration={{ .leaderElectionLeaseDuration }}
- --leader-election-renew-deadline={{ .leaderElectionRenewDeadline }}
- --leader-election-retry-period={{ .leaderElectionRetryPeriod }}
- --enable-controller-warmup={{ .enableControllerWarmup }}
{{- end }}
- --graceful-shutdown-timeout={{ .gracefulShutdownTimeout }}
- --workers={{ int .workers }}
- --request-concurrency={{ int .requestConcurrency }}
- --resource-graph-definition-concurrent-reconciles={{ int .resourceGraphDefinitionConcurrentReconciles }}
- --rgd-progress-requeue-delay={{ .resourceGraphDefinitionProgressRequeueDelay }}
- --dynamic-controller-default-resync-period={{ int .dynamicControllerDefaultResyncPeriod }}
- --dynamic-controller-rate-limiter-min-delay={{ .dynamicControllerRateLimiterMinDelay }}
- --dynamic-controller-rate-limiter-max-delay={{ .dynamicControllerRateLimiterMaxDelay }}
- --idle-watch-deadline={{ .idleWatchDeadline }}
- --instance-requeue-interval={{ .instance.requeueInterval }}
- --rgd-max-collection-size={{ int .rgd.maxCollectionSize }}
- --rgd-max-collection-dimension-size={{ int .rgd.maxCollectionDimensionSize }}
- --rgd-max-graph-revisions={{ int .rgd.maxGraphRevisions }}
{{- with .labelPropagationExclude }}
- --label-propagation-exclude={{ join "," . }}
{{- end }}
{{- with .versionLabel }}
- --version-label={{ . }}
{{- end }}
- --events={{ .events }}
{{- with .featureGates }}
- --feature-gates={{ range $index, $name := keys . | sortAlpha }}{{ if $index }},{{ end }}{{ $name }}={{ get $.featureGates $name }}{{ end }}
{{- end }}
- --zap-log-level={{ .logLevel }}
- --zap-encoder={{ .logEncoder }}
- --zap-devel={{ .development }}
{{- end -}}

{{/* A match condition: definitions, revisions, and instances the controller has looked after. */}}
{{- define "kroasync.is-ours" -}}
- name: is-ours
  expression: >-
    request.resource.group == 'internal.kro.run'
    || (request.resource.group == 'kro.run'
    && request.resource.resource in ['resourcegroups', 'resourcegraphdefinitions'])
    || 'kro.run/finalizer' in oldObject.metadata.?finalizers.orValue([])
{{- end }}
