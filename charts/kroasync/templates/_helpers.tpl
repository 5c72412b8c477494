{{- define "kroasync.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimAll "-" -}}
{{- end -}}

{{- /* A DNS label, because Services are named after it. A release's name may have dots. */ -}}
{{- define "kroasync.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- default $full .Values.fullnameOverride | replace "." "-" | trunc 63 | trimAll "-" -}}
{{- end -}}

{{- /* The name of a Service, from (list root suffix). */ -}}
{{- define "kroasync.serviceName" -}}
{{- $suffix := index . 1 -}}
{{- printf "%s-%s" (include "kroasync.fullname" (index . 0) | trunc (int (sub 62 (len $suffix))) | trimAll "-") $suffix -}}
{{- end -}}

{{- define "kroasync.serviceAccountName" -}}
{{- default (.Values.serviceAccount.create | ternary (include "kroasync.fullname" .) "default") .Values.serviceAccount.name -}}
{{- end -}}

{{- define "kroasync.automount" -}}
{{- dig "automountServiceAccountToken" .Values.serviceAccount.automount .Values.serviceAccount -}}
{{- end -}}

{{- define "kroasync.selectorLabels" -}}
app.kubernetes.io/name: {{ include "kroasync.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "kroasync.labels" -}}
{{- include "kroasync.labelsWith" (list . dict) -}}
{{- end -}}

{{- /*
The labels of an object, from (list root labels): of the chart, additionalLabels, and these. A later one replaces an
earlier one, so no key occurs twice. Selectors need the last ones.
*/ -}}
{{- define "kroasync.labelsWith" -}}
{{- $root := index . 0 -}}
{{- $labels := dict "app.kubernetes.io/component" "controller" "app.kubernetes.io/part-of" "kroasync" -}}
{{- $version := include "kroasync.tag" $root -}}
{{- $_ := set $labels "app.kubernetes.io/version" (regexReplaceAll "^[^0-9A-Za-z]+|[^0-9A-Za-z]+$" (trunc 63 $version) "") -}}
{{- if $root.Values.metadata.includeHelmChart -}}
{{- $chart := printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- $_ := set $labels "helm.sh/chart" $chart -}}
{{- end -}}
{{- if $root.Values.metadata.includeManagedBy -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- end -}}
{{- $selector := include "kroasync.selectorLabels" $root | fromYaml -}}
{{- mergeOverwrite $labels ($root.Values.additionalLabels | default dict) (index . 1 | default dict) $selector | toYaml -}}
{{- end -}}

{{- /* ${VERSION} is the default of kro's chart, and means the same as none. */ -}}
{{- define "kroasync.tag" -}}
{{- .Values.image.tag | default .Chart.AppVersion | replace "${VERSION}" .Chart.AppVersion -}}
{{- end -}}

{{- define "kroasync.image" -}}
{{- $image := printf "%s:%s" .Values.image.repository (include "kroasync.tag" .) -}}
{{- with .Values.image.digest }}{{ $image = printf "%s@%s" $image . }}{{ end -}}
{{- $image -}}
{{- end -}}

{{- /* Empty when there are no probes. */ -}}
{{- define "kroasync.healthPort" -}}
{{- include "kroasync.port" .Values.config.healthProbeBindAddress -}}
{{- end -}}

{{- /* Empty when metrics are not served. */ -}}
{{- define "kroasync.metricsPort" -}}
{{- include "kroasync.port" .Values.config.metricsBindAddress -}}
{{- end -}}

{{- /* The port of an address; empty for 0. */ -}}
{{- define "kroasync.port" -}}
{{- $port := toString . | regexFind "[0-9]+$" -}}
{{- if ne $port "0" -}}{{ $port }}{{- end -}}
{{- end -}}

{{- define "kroasync.workers" -}}
{{- max (int .workers) (int .dynamicControllerConcurrentReconciles) -}}
{{- end -}}

{{- define "kroasync.leaseNamespace" -}}
{{- .Values.config.leaderElectionNamespace | default .Release.Namespace -}}
{{- end -}}

{{- /* `namespace/name` of this release. */ -}}
{{- define "kroasync.release" -}}
{{- printf "%s/%s" .Release.Namespace .Release.Name -}}
{{- end -}}

{{- /* The flags of `kroasync run`, one per line. */ -}}
{{- define "kroasync.args" -}}
run
--metrics-bind-address={{ .metricsBindAddress }}
--health-probe-bind-address={{ .healthProbeBindAddress }}
--allow-crd-deletion={{ .allowCRDDeletion }}
--leader-elect={{ .enableLeaderElection }}
{{- if .enableLeaderElection }}
{{- with .leaderElectionNamespace }}
--leader-election-namespace={{ . }}
{{- end }}
--leader-election-lease-duration={{ .leaderElectionLeaseDuration }}
--leader-election-renew-deadline={{ .leaderElectionRenewDeadline }}
--leader-election-retry-period={{ .leaderElectionRetryPeriod }}
--enable-controller-warmup={{ .enableControllerWarmup }}
{{- end }}
--graceful-shutdown-timeout={{ .gracefulShutdownTimeout }}
--workers={{ include "kroasync.workers" . }}
--request-concurrency={{ int .requestConcurrency }}
--resource-graph-definition-concurrent-reconciles={{ int .resourceGraphDefinitionConcurrentReconciles }}
--rgd-progress-requeue-delay={{ .resourceGraphDefinitionProgressRequeueDelay }}
--dynamic-controller-default-resync-period={{ int .dynamicControllerDefaultResyncPeriod }}
--dynamic-controller-rate-limiter-min-delay={{ .dynamicControllerRateLimiterMinDelay }}
--dynamic-controller-rate-limiter-max-delay={{ .dynamicControllerRateLimiterMaxDelay }}
--idle-watch-deadline={{ .idleWatchDeadline }}
--instance-requeue-interval={{ .instance.requeueInterval }}
--rgd-max-collection-size={{ int .rgd.maxCollectionSize }}
--rgd-max-collection-dimension-size={{ int .rgd.maxCollectionDimensionSize }}
--rgd-max-graph-revisions={{ int .rgd.maxGraphRevisions }}
--default-adoption-policy={{ .policies.adoption }}
--default-deletion-policy={{ .policies.deletion }}
--default-update-policy={{ .policies.update }}
--default-conflicts-policy={{ .policies.conflicts }}
{{- with .labelPropagationExclude }}
--label-propagation-exclude={{ join "," . }}
{{- end }}
{{- with .versionLabel }}
--version-label={{ . }}
{{- end }}
--events={{ .events }}
{{- with .featureGates }}
--feature-gates={{ range $index, $name := keys . | sortAlpha }}{{ if $index }},{{ end }}{{ $name }}={{ get $.featureGates $name }}{{ end }}
{{- end }}
--zap-log-level={{ .logLevel }}
--zap-encoder={{ .logEncoder }}
--zap-devel={{ .development }}
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
