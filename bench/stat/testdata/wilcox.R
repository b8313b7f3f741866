# Prints the fixtures of this package's tests: Rscript wilcox.R > wilcox.txt
# Base R only. Values are rounded to few digits so that both sides read the same.
show <- function(key, v) cat(key, format(v, digits = 17, scientific = TRUE, trim = TRUE), "\n")
cat("#", R.version.string, "; Rscript wilcox.R\n")

untied <- function(name, m, n, shift, sd) {
  base <- round(rnorm(m, 4, sd), 6)
  now <- round(rnorm(n, 4 + shift, sd), 6)
  stopifnot(!anyDuplicated(c(base, now)))
  cat("case", name, "\n")
  show("base", base)
  show("now", now)
  g <- wilcox.test(now, base, alternative = "greater", exact = TRUE, conf.int = TRUE)
  show("u", g$statistic)
  show("p", g$p.value)
  show("hl", g$estimate)
  for (a in c(0.05, 0.01, 0.001, 4e-05)) {
    if (a < 1 / choose(m + n, n) - 1e-12) next # no interval of that level exists
    lo <- wilcox.test(now, base, alternative = "greater", exact = TRUE, conf.int = TRUE, conf.level = 1 - a)
    hi <- wilcox.test(now, base, alternative = "less", exact = TRUE, conf.int = TRUE, conf.level = 1 - a)
    show("bounds", c(a, lo$conf.int[1], hi$conf.int[2]))
  }
}

# All ways of choosing now's ranks out of the pooled ones, given the ties.
tied <- function(name, base, now) {
  cat("case", name, "\n")
  show("base", base)
  show("now", now)
  r <- rank(c(base, now))
  n <- length(now)
  seen <- sum(tail(r, n))
  sums <- combn(r, n, sum)
  show("u", seen - n * (n + 1) / 2)
  show("p", mean(sums >= seen - 1e-9))
  show("hl", median(outer(now, base, "-")))
}

set.seed(20261124)
for (s in list(c(3, 3), c(5, 8), c(12, 8), c(20, 5), c(20, 8), c(30, 12), c(40, 16), c(60, 24), c(1, 7))) {
  for (shift in c(0, 0.2, 1)) {
    untied(sprintf("%dv%d+%g", s[1], s[2], shift), s[1], s[2], shift, 0.3)
  }
}
tied("some-ties", c(1, 2, 2, 3, 4, 4, 5, 6), c(4, 5, 5, 6, 7))
tied("many-ties", c(1, 1, 1, 2, 2, 2, 2, 3), c(2, 2, 3, 3, 3, 3))
tied("all-equal", rep(7, 6), rep(7, 5))
tied("two-values", c(0, 0, 0, 0, 0, 0, 0, 1), c(1, 1, 1, 1, 0))
tied("12v8-rounded", round(rnorm(12, 4, 0.3), 1), round(rnorm(8, 4.3, 0.3), 1))

p <- signif(c(runif(20), runif(6) / 1000, 0, 1, 0.03, 0.03), 6)
cat("case adjust\n")
show("raw", p)
show("holm", p.adjust(p, "holm"))
show("bh", p.adjust(p, "BH"))
show("family", 240)
show("holm240", p.adjust(p, "holm", n = 240))
show("bh240", p.adjust(p, "BH", n = 240))
x <- round(rlnorm(23, 3, 0.4), 5)
cat("case order\n")
show("x", x)
show("quantiles", quantile(x, c(0, 0.05, 0.25, 0.5, 0.8, 0.99, 1), type = 7))
show("mad", mad(x))
k <- c(0, 0, 3, 17, 1999, 2000, 0)
n <- c(1, 2000, 2000, 20, 2000, 2000, 160000)
cat("case rate\n")
show("k", k)
show("n", n)
show("upper", mapply(function(k, n) binom.test(k, n, alternative = "less")$conf.int[2], k, n))
