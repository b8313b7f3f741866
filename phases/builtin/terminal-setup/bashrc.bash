if [ -n "$PS1" ]; then
  # An alias that was there before is left as it is.
  alias gs >/dev/null 2>&1 || alias gs='git status'
  alias ga >/dev/null 2>&1 || alias ga='git add'
  alias gc >/dev/null 2>&1 || alias gc='git commit'
  alias gp >/dev/null 2>&1 || alias gp='git push'
  alias gl >/dev/null 2>&1 || alias gl='git log --graph --oneline --decorate'
  alias gco >/dev/null 2>&1 || alias gco='git checkout'
  alias gb >/dev/null 2>&1 || alias gb='git branch'

  # user@host:folder (branch), in colour where the terminal has any.
  if [ -r /usr/lib/git-core/git-sh-prompt ]; then
    . /usr/lib/git-core/git-sh-prompt
  else
    __git_ps1() { :; }
  fi
  case $TERM in
  '' | dumb) PS1='${debian_chroot:+($debian_chroot)}\u@\h:\w$(__git_ps1 " (%s)")\$ ' ;;
  *) PS1='${debian_chroot:+($debian_chroot)}\[\e[1;32m\]\u@\h\[\e[0m\]:\[\e[1;34m\]\w\[\e[33m\]$(__git_ps1 " (%s)")\[\e[0m\]\$ ' ;;
  esac
  case $TERM in
  xterm* | rxvt*) PS1='\[\e]0;${debian_chroot:+($debian_chroot)}\u@\h: \w\a\]'$PS1 ;;
  esac
fi
