#!/bin/sh
# What the Docker and the Apptainer image have in common. Run at build time, in a copy of the repository:
#     install.sh dependencies    the pinned dependencies, into a virtual environment under /opt/latentatlas
#     install.sh package         LatentAtlas itself, the templates asked for, and caches that any user may read
# Environment: TORCH_BUILD (cpu, cu126, ...: a build of torch found in wheels/ or on an extra index; empty: whatever pip
# finds, which has CUDA), TEMPLATES (TemplateFlow names, by spaces; empty: none beside the one that is bundled).
set -eu
cd "$(dirname "$0")/.."

prefix=/opt/latentatlas
python=$prefix/bin/python
pip="$python -m pip --disable-pip-version-check --no-cache-dir"

case $1 in
dependencies)
  python3 -m venv $prefix
  # torch first and alone, by its exact version, so that pip settles on one build of it before anything else asks.
  torch=$(grep '^torch==' constraints.txt)
  $pip install "$torch${TORCH_BUILD:++$TORCH_BUILD}"
  $python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
    >/tmp/requirements.txt
  $pip install -c constraints.txt -r /tmp/requirements.txt
  rm /tmp/requirements.txt
  ;;
package)
  $pip install -c constraints.txt setuptools
  $pip install --no-deps --no-build-isolation .
  $pip uninstall --yes setuptools pip
  # shellcheck disable=SC2086  # several names, by spaces
  "$python" containers/warm_caches.py ${TEMPLATES:-}
  # Only those that need it: a layer holds a copy of every file it touches.
  find $prefix ! -type l ! -perm -o=r -exec chmod a+rX {} +
  ;;
esac
