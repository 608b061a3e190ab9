"""The Cloud Scheduler emulator: `google.cloud.scheduler.v1.CloudScheduler` over gRPC."""
