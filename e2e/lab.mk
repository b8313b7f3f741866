# The lab: real Debian 13 hosts on this machine (e2e/lab). N says how many, LAB_DIR where inventory and keys go.
# SUITE=bookworm or noble: Debian 12 or Ubuntu 24.04. MEM (megabytes) and CPUS: the size that hosts have and see.
# LAB_FLAGS: others of "lab up", such as -ipv6-only or -apt-cache=false.
LAB_DIR ?= .lab
LAB_PACKAGES := systemd-container mmdebstrap nftables iproute2 debian-archive-keyring
LAB_PACKAGES += $(if $(MEM)$(CPUS),lxcfs) $(if $(filter noble,$(SUITE)),distro-info-data)
LAB_UP := -n $(or $(N),2) $(if $(SUITE),-suite $(SUITE)) $(if $(MEM),-mem $(MEM)) $(if $(CPUS),-cpus $(CPUS)) $(LAB_FLAGS)
LAB_SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
LAB := $(LAB_SUDO) $(LAB_DIR)/lab

.PHONY: lab-up lab-down lab-reset lab-list lab-deps lab-build

lab-up: lab-deps lab-build  ## N=2 SUITE=bookworm MEM=2048 CPUS=1: start hosts; print addresses, inventory and known_hosts
	@$(LAB) up -dir $(LAB_DIR) $(LAB_UP)

lab-down: lab-build  ## stop the hosts and remove them
	@$(LAB) down -dir $(LAB_DIR)

lab-reset: lab-build  ## HOST=lab1: a fresh disk for this host; all hosts without HOST
	@$(LAB) reset -dir $(LAB_DIR) $(HOST)

lab-list: lab-build
	@$(LAB) list -dir $(LAB_DIR)

lab-build:
	@mkdir -p $(LAB_DIR) && echo "*" >$(LAB_DIR)/.gitignore && go build -o $(LAB_DIR)/lab ./e2e/lab/cmd/lab

lab-deps:
	@missing=; for p in $(LAB_PACKAGES); do \
		dpkg-query -W -f '$${db:Status-Status}\n' $$p 2>/dev/null | grep -qx installed || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
		$(LAB_SUDO) apt-get update -q && \
		$(LAB_SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; fi
