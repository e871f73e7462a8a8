#!/usr/bin/env bash
# Becomes a Java program of Kafka, with the options that the environment gives: kafka-run-class.sh CLASS ARGUMENT…
set -euo pipefail

# In one order everywhere: a class data archive is good for the class path that it was made with, and longer ones.
printf -v libs '%s:' /opt/kafka/libs/*.jar
archive=/opt/kafka/${JSA:-}.jsa
[[ -f $archive ]] && share=(-Xshare:auto "-XX:SharedArchiveFile=$archive") || share=()
performance=${KAFKA_JVM_PERFORMANCE_OPTS:--server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 \
  -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent -Djava.awt.headless=true}
log4j=${KAFKA_LOG4J_OPTS:--Dlog4j2.configurationFile=/etc/kafka/docker/tools-log4j2.yaml}
# The options are words for the JVM, not one word.
# shellcheck disable=SC2086
exec java "${share[@]}" ${KAFKA_HEAP_OPTS:--Xmx256M} $performance ${KAFKA_GC_LOG_OPTS:-} ${KAFKA_JMX_OPTS:-} \
  "-Dkafka.logs.dir=${LOG_DIR:-/opt/kafka/logs}" $log4j -cp "${libs%:}${CLASSPATH:+:$CLASSPATH}" ${KAFKA_OPTS:-} "$@"
