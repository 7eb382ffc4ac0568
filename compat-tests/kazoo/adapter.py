"""A pytest plugin that lends kazoo's tests our way of running a server, and notes what they say.

kazoo's harness builds a cluster of ZooKeeper servers and then starts, stops and wipes them. It
still does; only its `ManagedZooKeeper`, which would run a JVM itself, is replaced by a `Server`.
Its tests and its clients stay as published.

TLS and SASL are configured for the tests that ask for them, and not for all as kazoo does, so that
a server without them can be judged on the rest.
"""

import json
import os
import pathlib
import tempfile

import pytest
from kazoo.testing import common, harness
from server import Server, free_port

STORE_PASSWORD = "apassword"  # The one that clients in kazoo's tests expect.
FIRST_PORT_UNUSED = "0"


class ManagedServer(common.ManagedZooKeeper):
    """The face that kazoo's harness knows, over a `Server`."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        os.rmdir(self.working_path)  # The base class makes one outside of our directory.
        self.working_path = tempfile.mkdtemp(dir=os.environ["KAZOO_SERVERS"])
        self.server = Server(os.environ["KAZOO_SERVER_KIND"], self.working_path)
        self.secure_port = free_port()
        self.tls = False
        self.plain_settings = dict(self.server.settings)

    @property
    def client_port(self):
        return self.server.port

    @property
    def secure_client_port(self):
        return self.secure_port

    @property
    def running(self):
        return self.server.running

    def run(self):
        self.server.settings = {
            **self.plain_settings,
            "maxClientCnxns": "0",
            "readonlymode.enabled": "true",
            **dict(entry.split("=", 1) for entry in self.configuration_entries),
            **dict(self._as_setting(option) for option in self.java_system_properties),
            **(self._tls_settings() if self.tls else {}),
            **(self._sasl_settings() if self.jaas_config else {}),
        }
        self.server.start()

    def stop(self):
        self.server.stop()

    def reset(self):
        self.server.wipe()

    def destroy(self):
        self.server.wipe()
        self.tls = False

    def get_logs(self, num_lines=100):
        return self.server.log_tail(num_lines)

    @staticmethod
    def _as_setting(option):
        """`-Dzookeeper.key=value` is `key=value` in zoo.cfg."""
        key, value = option.split("=", 1)
        return key.removeprefix("-D").removeprefix("zookeeper."), value

    def _tls_settings(self):
        stores = {}
        for name in ("keystore", "truststore"):
            stores[name] = os.path.join(self.working_path, f"{name}.jks")
            self.ssl_configuration[name].save(stores[name], STORE_PASSWORD)
        return {
            "secureClientPort": str(self.secure_port),
            "ssl.keyStore.location": stores["keystore"],
            "ssl.keyStore.password": STORE_PASSWORD,
            "ssl.trustStore.location": stores["truststore"],
            "ssl.trustStore.password": STORE_PASSWORD,
        }

    def _sasl_settings(self):
        jaas = pathlib.Path(self.working_path, "jaas.conf")
        jaas.write_text(self.jaas_config)
        return {
            "authProvider.1": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
            "java.security.auth.login.config": str(jaas),
            "fips-mode": "false",  # On, ZooKeeper 3.9 offers no DIGEST-MD5.
        }


class Cluster(common.ZookeeperCluster):
    """Kazoo's cluster, less the pause after a start, which only returns once a server answers."""

    def start(self):
        for server in self:
            server.run()

    def get_ssl_client_configuration(self):
        """Whoever asks for these is about to connect over TLS."""
        for server in self:
            if not server.tls:
                server.destroy()
                server.tls = True
        return super().get_ssl_client_configuration()


class Outcomes:
    """Passed, failed or skipped, and why, by test."""

    def __init__(self, path):
        self.path = path
        self.by_test = {}

    def pytest_runtest_logreport(self, report):
        test = report.nodeid.removeprefix("kazoo/tests/")
        if report.failed:
            self.by_test[test] = ["failed", self._crash(report)]
        elif report.skipped:
            self.by_test[test] = ["skipped", report.longrepr[2].removeprefix("Skipped: ")]
        elif report.when == "call":
            self.by_test.setdefault(test, ["passed", ""])

    def pytest_sessionfinish(self):
        self.path.write_text(json.dumps(self.by_test))

    @staticmethod
    def _crash(report):
        crash = getattr(report.longrepr, "reprcrash", None)
        lines = (crash.message if crash else str(report.longrepr)).splitlines()
        return f"{report.when}: {lines[0] if lines else 'no message'}"


def pytest_configure(config):
    common.ManagedZooKeeper = ManagedServer
    harness.ZookeeperCluster = Cluster
    harness.CLUSTER_DEFAULTS["ZOOKEEPER_PORT_OFFSET"] = FIRST_PORT_UNUSED
    if not hasattr(config, "workerinput"):  # The one process that hears of all tests.
        config.pluginmanager.register(Outcomes(pathlib.Path(os.environ["KAZOO_OUTCOMES"])))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish():
    if harness.CLUSTER is not None:
        harness.CLUSTER.terminate()
