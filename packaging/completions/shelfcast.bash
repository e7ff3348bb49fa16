# Completion of shelfcast for bash.
_shelfcast() {
    local cur prev
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    case $prev in
    -c | --config)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    -l | --listen)
        return
        ;;
    --log)
        mapfile -t COMPREPLY < <(compgen -W 'error warn info debug trace' -- "$cur")
        return
        ;;
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '-c --config -l --listen --state --log --check-config
            --print-drop-in -h --help -V --version' -- "$cur")
    else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
    fi
}
complete -F _shelfcast shelfcast
