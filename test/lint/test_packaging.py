# SPDX-License-Identifier: BSD-3-Clause
"""What a package is made of says the same as the tree: versions, what it is built with, files that exist, texts that are of one form."""

import os
import re
import shutil
import subprocess

import pytest
import tree

SCRIPTS = ["dev", "packaging/install_conf.sh", "packaging/shoal.bash", "packaging/try_deb.sh", "packaging/containers/healthy.sh"]
SCRIPTS += ["packaging/debian/shoal-server.postinst", "packaging/debian/shoal-server.postrm"]


def test_the_package_has_the_version_of_the_tree():
    version = re.search(r"^  version: '(.*)',$", tree.read("meson.build"), re.M).group(1)
    assert tree.read("packaging/debian/changelog").startswith("shoal (%s) " % version)


def test_the_package_is_built_with_what_dev_installs():
    packages = re.search(r"^build_packages=\((.*)\)$", tree.read("dev"), re.M).group(1).split()
    told = re.search(r"^Build-Depends:(.*?)^\S", tree.read("packaging/debian/control"), re.M | re.S).group(1)
    missing = [name for name in packages if not re.search(r"[ |]%s[ ,:\n]" % re.escape(name), told)]
    assert sorted(set(missing) - {"gcc", "libc6-dev", "pkg-config"}) == []  # of build-essential; pkgconf is the same


@pytest.mark.parametrize("path", SCRIPTS)
def test_scripts_are_scripts(path):
    text = tree.read(path)
    shell = "bash" if "bash" in text.splitlines()[0] or path.endswith(".bash") else "sh"
    done = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_containers_are_made_of_files_that_exist():
    text = tree.read("packaging/containers/Dockerfile")
    copied = re.findall(r"^COPY (?:--\S+ )*(\S+) ", text, re.M)
    assert len(copied) >= 2 and [path for path in copied if not os.path.exists(os.path.join(tree.ROOT, path))] == []
    assert re.search(r"^USER \d+:\d+$", text, re.M) and "HEALTHCHECK" in text


def test_the_examples_for_containers_fit_together():
    yaml = pytest.importorskip("yaml")
    image = tree.read("packaging/containers/Dockerfile")
    user = int(re.search(r"^USER (\d+)", image, re.M).group(1))
    ports = set(map(int, re.search(r"^EXPOSE (.*)$", image, re.M).group(1).split()))
    documents = list(yaml.safe_load_all(tree.read("packaging/containers/kubernetes.yaml")))
    maps = {d["metadata"]["name"]: d["data"] for d in documents if d["kind"] == "ConfigMap"}
    services = {d["metadata"]["name"]: d["spec"]["selector"] for d in documents if d["kind"] == "Service"}
    sets = [d for d in documents if d["kind"] == "StatefulSet"]
    assert len(sets) == 2 and len(services) == 2
    for one in sets:
        spec, pod = one["spec"], one["spec"]["template"]["spec"]
        assert spec["template"]["metadata"]["labels"] == spec["selector"]["matchLabels"] == services[spec["serviceName"]]
        assert pod["securityContext"]["runAsUser"] == user
        container = pod["containers"][0]
        named = {p["name"]: p["containerPort"] for p in container["ports"]}
        assert set(named.values()) == ports
        assert {probe["httpGet"]["port"] for probe in (container["livenessProbe"], container["readinessProbe"])} <= set(named)
        mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
        volumes = {v["name"] for v in pod["volumes"]} | {v["metadata"]["name"] for v in spec.get("volumeClaimTemplates", [])}
        assert set(mounts) == volumes and mounts["data"] == "/data"
        folder, file = os.path.split(container["args"][0])
        assert folder == mounts["conf"] and file in maps[pod["volumes"][-2]["configMap"]["name"]]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
    compose = yaml.safe_load(tree.read("packaging/containers/compose.yaml"))["services"]["shoal"]
    assert compose["read_only"] is True and compose["command"][0] in image
    assert os.path.exists(os.path.join(tree.ROOT, "packaging", "containers", compose["build"]["context"], compose["build"]["dockerfile"]))


def test_pages_of_the_manual_are_without_faults(tmp_path):
    if not shutil.which("groff"):
        pytest.skip("no groff")
    pages = {name: tree.read("packaging/man/" + name) for name in ("shoal-server.1.in", "shoal-check.1.in")}
    made = tmp_path / "shoal.conf.5"
    subprocess.run(["/usr/bin/python3", os.path.join(tree.ROOT, "packaging/man/conf_page.py"), os.path.join(tree.ROOT, "packaging/shoal.conf"), made, "1"], check=True)
    pages["shoal.conf.5"] = made.read_text()
    for name, text in pages.items():
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=text, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), name


def test_the_unit_lets_it_do_little(tmp_path):
    """By systemd's own judgement: from 0, which may do nothing, to 10."""
    unit = re.sub("@bindir@", "/usr/bin", re.sub("@sysconfdir@", "/etc", tree.read("packaging/systemd/shoal-server.service.in")))
    for folder in ("usr/bin", "etc/systemd/system"):
        os.makedirs(tmp_path / folder)
    shutil.copy("/bin/true", tmp_path / "usr/bin/shoal-server")
    (tmp_path / "etc/systemd/system/shoal-server.service").write_text(unit)
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--root=%s" % tmp_path, "--no-pager", "shoal-server.service"], capture_output=True, text=True)
    level = re.search(r"Overall exposure level for \S+ (\d+\.\d+)", done.stdout)
    assert level and float(level.group(1)) < 2.0, done.stdout[-200:] + done.stderr
