{{- define "coordinator.unprivileged" -}}
runAsUser: 0
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "coordinator.node.environment" -}}
env:
  - name: COORDINATOR_NODE
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
  - name: COORDINATOR_CNI_BIN
    value: /host/cni-bin
  - name: COORDINATOR_METRICS
    value: "0.0.0.0:{{ .Values.node.port }}"
  - name: COORDINATOR_CARE
    value: {{ .Values.node.careSeconds | quote }}
  - name: COORDINATOR_REPAIR
    value: {{ .Values.node.repair | quote }}
  - name: COORDINATOR_LOG
    value: {{ .Values.node.logLevel }}
  - name: SPIDERPOOL_ENABLED_RELEASE_CONFLICT_IPS
    value: {{ .Values.node.releaseConflictIPs | quote }}
{{- with .Values.guests.registries }}
{{- if .references }}
  - name: COORDINATOR_GUESTS
    value: {{ join " " .references | quote }}
  - name: SSL_CERT_FILE
    value: /etc/registries/certificates.crt
{{- if .pullSecret }}
  - name: DOCKER_CONFIG
    value: /etc/registries/secret
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "coordinator.node.mounts" -}}
- name: cni-bin
  mountPath: /host/cni-bin
- name: state
  mountPath: /var/lib/coordinator
- name: socket
  mountPath: /run/coordinator-agent
- name: records
  mountPath: /run/coordinator
- name: netns
  mountPath: /run/netns
  # Namespaces that the runtime makes later are seen too.
  mountPropagation: HostToContainer
- name: spiderpool
  mountPath: /var/run/spidernet
- name: pipelines
  mountPath: /etc/coordinator
- name: stages
  mountPath: /opt/coordinator
{{- if .Values.pipelines }}
- name: new-pipelines
  mountPath: /usr/share/coordinator/pipelines
  readOnly: true
{{- end }}
{{- range $at, $map := .Values.guests.configMaps }}
- name: guests-map-{{ $at }}
  mountPath: /usr/share/coordinator/stages/map-{{ $at }}
  readOnly: true
{{- end }}
{{- range $at, $image := .Values.guests.images }}
- name: guests-image-{{ $at }}
  mountPath: /usr/share/coordinator/stages/image-{{ $at }}
  readOnly: true
{{- end }}
{{- with .Values.guests.registries }}
{{- if .references }}
- name: certificates
  mountPath: /etc/registries/certificates.crt
  readOnly: true
{{- if .pullSecret }}
- name: registries
  mountPath: /etc/registries/secret
  readOnly: true
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
