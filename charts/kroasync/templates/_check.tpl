{{- /*
Values that the schema cannot refuse, because that depends on several values, on the release or on the cluster. Helm
prints the reason; without these checks, it would be in the log of a pod that restarts.
*/ -}}
{{- define "kroasync.check" -}}
{{- $config := .Values.config -}}
{{- $deployment := .Values.deployment -}}
{{- $metrics := .Values.metrics -}}
{{- if not .Values.image.repository -}}
{{- fail "image.repository is empty: no image of kroasync is published. Build one (docker build --tag REGISTRY/kroasync:VERSION .), push it, and set image.repository=REGISTRY/kroasync" -}}
{{- end -}}
{{- range $path, $labels := dict "additionalLabels" .Values.additionalLabels "deployment.podLabels" $deployment.podLabels "metrics.service.labels" $metrics.service.labels -}}
{{- range $key := list "app.kubernetes.io/name" "app.kubernetes.io/instance" -}}
{{- if hasKey ($labels | default dict) $key -}}
{{- fail (printf "%s: %s is a label of the chart's selectors. Set nameOverride, or choose another key" $path $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (gt (int $deployment.replicaCount) 1) (not $config.enableLeaderElection) -}}
{{- fail "deployment.replicaCount above 1 needs config.enableLeaderElection: without it every replica would act" -}}
{{- end -}}
{{- include "kroasync.checkMetrics" . -}}
{{- include "kroasync.checkAddresses" . -}}
{{- include "kroasync.checkDurations" . -}}
{{- include "kroasync.checkAdditions" . -}}
{{- include "kroasync.checkOnlyRelease" . -}}
{{- end -}}

{{- define "kroasync.checkMetrics" -}}
{{- $metrics := .Values.metrics -}}
{{- if and (or $metrics.service.create ($metrics.podMonitor).enabled) (not (include "kroasync.metricsPort" .)) -}}
{{- fail "metrics.service.create and metrics.podMonitor.enabled need metrics: config.metricsBindAddress is 0" -}}
{{- end -}}
{{- if and $metrics.serviceMonitor.enabled (not $metrics.service.create) -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.service.create" -}}
{{- end -}}
{{- if and $metrics.serviceMonitor.enabled ($metrics.podMonitor).enabled -}}
{{- fail "metrics.serviceMonitor.enabled and metrics.podMonitor.enabled: Prometheus would count everything twice. Enable one of them" -}}
{{- end -}}
{{- $name := include "kroasync.fullname" . -}}
{{- if and $metrics.service.create (regexMatch "^[0-9]" $name) -}}
{{- fail (printf "metrics.service.create: the name of a Service starts with a letter, and the release's objects are named %q. Set fullnameOverride" $name) -}}
{{- end -}}
{{- end -}}

{{- define "kroasync.checkAddresses" -}}
{{- $loopback := "^(localhost|127\\.[0-9.]+|\\[::1\\]):" -}}
{{- $health := toString .Values.config.healthProbeBindAddress -}}
{{- $metrics := toString .Values.config.metricsBindAddress -}}
{{- if regexMatch $loopback $health -}}
{{- fail (printf "config.healthProbeBindAddress: the kubelet probes the address of the pod, and %s is only reachable inside it. Use :%s" $health (include "kroasync.healthPort" .)) -}}
{{- end -}}
{{- if and (regexMatch $loopback $metrics) (or .Values.metrics.service.create (.Values.metrics.podMonitor).enabled) -}}
{{- fail (printf "config.metricsBindAddress: Prometheus asks the address of the pod, and %s is only reachable inside it. Use :%s" $metrics (include "kroasync.metricsPort" .)) -}}
{{- end -}}
{{- $port := include "kroasync.healthPort" . -}}
{{- if and $port (eq $port (include "kroasync.metricsPort" .)) -}}
{{- fail (printf "config.healthProbeBindAddress and config.metricsBindAddress have the same port, %s. Choose two" $port) -}}
{{- end -}}
{{- end -}}

{{- /* A duration of Go, such as 1m30s, in seconds. */ -}}
{{- define "kroasync.seconds" -}}
{{- $units := dict "ns" 1e-9 "us" 1e-6 "µs" 1e-6 "ms" 1e-3 "s" 1.0 "m" 60.0 "h" 3600.0 -}}
{{- $seconds := 0.0 -}}
{{- range regexFindAll "[0-9.]+[a-zµ]+" (toString .) -1 -}}
{{- $seconds = addf $seconds (mulf (regexFind "^[0-9.]+" . | float64) (get $units (regexFind "[a-zµ]+$" .))) -}}
{{- end -}}
{{- $seconds -}}
{{- end -}}

{{- /* The program refuses the first three, too. */ -}}
{{- define "kroasync.checkDurations" -}}
{{- $config := .Values.config -}}
{{- $lease := include "kroasync.seconds" $config.leaderElectionLeaseDuration | float64 -}}
{{- $renew := include "kroasync.seconds" $config.leaderElectionRenewDeadline | float64 -}}
{{- $retry := include "kroasync.seconds" $config.leaderElectionRetryPeriod | float64 -}}
{{- if and $config.enableLeaderElection (le $lease $renew) -}}
{{- fail (printf "config.leaderElectionLeaseDuration (%s) must be longer than config.leaderElectionRenewDeadline (%s)" $config.leaderElectionLeaseDuration $config.leaderElectionRenewDeadline) -}}
{{- end -}}
{{- if and $config.enableLeaderElection (le $renew (mulf 1.2 $retry)) -}}
{{- fail (printf "config.leaderElectionRenewDeadline (%s) must be longer than 1.2 times config.leaderElectionRetryPeriod (%s)" $config.leaderElectionRenewDeadline $config.leaderElectionRetryPeriod) -}}
{{- end -}}
{{- $low := include "kroasync.seconds" $config.dynamicControllerRateLimiterMinDelay | float64 -}}
{{- $high := include "kroasync.seconds" $config.dynamicControllerRateLimiterMaxDelay | float64 -}}
{{- if gt $low $high -}}
{{- fail (printf "config.dynamicControllerRateLimiterMinDelay (%s) must not be longer than config.dynamicControllerRateLimiterMaxDelay (%s)" $config.dynamicControllerRateLimiterMinDelay $config.dynamicControllerRateLimiterMaxDelay) -}}
{{- end -}}
{{- end -}}

{{- /* What the pod has already may not be added again. */ -}}
{{- define "kroasync.checkAdditions" -}}
{{- range .Values.deployment.extraEnv -}}
{{- if eq (toString .name) "POD_NAMESPACE" -}}
{{- fail "deployment.extraEnv: the chart sets POD_NAMESPACE" -}}
{{- end -}}
{{- end -}}
{{- range .Values.deployment.extraVolumes -}}
{{- if eq (toString .name) "scratch" -}}
{{- fail "deployment.extraVolumes: the chart has a volume scratch. Choose another name" -}}
{{- end -}}
{{- end -}}
{{- range .Values.deployment.extraVolumeMounts -}}
{{- if eq (toString .mountPath | trimSuffix "/") "/tmp" -}}
{{- fail "deployment.extraVolumeMounts: the chart mounts the volume scratch at /tmp. Choose another path" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Two controllers would undo each other's work. Without a cluster, lookup finds nothing. */ -}}
{{- define "kroasync.checkOnlyRelease" -}}
{{- $own := include "kroasync.release" . -}}
{{- range (lookup "rbac.authorization.k8s.io/v1" "ClusterRoleBinding" "" "").items -}}
{{- $other := dig "annotations" "kroasync.io/release" "" .metadata -}}
{{- if and $other (ne $other $own) -}}
{{- fail (printf "release %s of kroasync is in this cluster already. Two releases would serve the same kinds, and undo the work of each other. Upgrade that release, or uninstall it. If it does not exist any more, delete the rest of it: kubectl delete clusterrolebinding %s" $other .metadata.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
