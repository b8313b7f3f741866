# The lab: real Debian 13 hosts on this machine (e2e/lab). N says how many, LAB_DIR where inventory and keys go.
LAB_DIR ?= .lab
LAB_PACKAGES := systemd-container mmdebstrap nftables iproute2 debian-archive-keyring
LAB_SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
LAB := $(LAB_SUDO) $(LAB_DIR)/lab
N ?= 2

.PHONY: lab-up lab-down lab-reset lab-list lab-deps lab-build test-e2e

lab-up: lab-deps lab-build  ## N=2: start hosts; print addresses, inventory and known_hosts
	@$(LAB) up -dir $(LAB_DIR) -n $(N)

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

test-e2e: lab-deps  ## FILTER=TestLab: the tests against real hosts
	go test -tags e2e -count=1 -timeout 20m $(if $(LAB_SUDO),-exec $(LAB_SUDO)) -run '$(FILTER)' ./e2e/
