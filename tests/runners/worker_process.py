"""Starts a Python worker beside a Flink TaskManager, as the `boot` program of Beam's containers does.

A process for each that asks: Beam's pool of workers (LOOPBACK, EXTERNAL) knows them by names that two TaskManagers
share, so that the one that is done first ends the worker of the other, and the job fails or hangs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
from google.protobuf import json_format


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    args, _ = parser.parse_known_args()
    metadata = [("worker_id", args.id)]
    with grpc.insecure_channel(args.provision_endpoint) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        info = stub.GetProvisionInfo(request, metadata=metadata, timeout=60).info
    os.environ.update(
        WORKER_ID=args.id,
        CONTROL_API_SERVICE_DESCRIPTOR=f'url: "{info.control_endpoint.url}"',
        LOGGING_API_SERVICE_DESCRIPTOR=f'url: "{info.logging_endpoint.url}"',
        PIPELINE_OPTIONS=json.dumps(json_format.MessageToDict(info.pipeline_options)),
        RUNNER_CAPABILITIES=" ".join(info.runner_capabilities),
    )
    os.execv(sys.executable, [sys.executable, "-m", "apache_beam.runners.worker.sdk_worker_main"])


if __name__ == "__main__":
    main()
