# shellcheck shell=sh
# cloud_init says where cloud-init stands: none, running STAGE, done or error.
cloud_init() {
  if [ -e /run/cloud-init/result.json ]; then
    if tr -d ' \n' </run/cloud-init/result.json | grep -q '"errors":\[\]'; then echo 'done'; else echo error; fi
  elif [ ! -e /run/cloud-init/enabled ]; then
    echo none
  elif systemctl show -p ActiveState,Job cloud-final.service 2>/dev/null | grep -qE '^(ActiveState=activating|Job=[1-9])'; then
    echo "running $(sed -n 's/.*"stage": *"\([a-z-]*\)".*/\1/p' /run/cloud-init/status.json 2>/dev/null | head -n 1)"
  else
    echo none
  fi
}
