# bash completion for osprey. Options come from the program's own help, so that they cannot differ.
_osprey_words() { # the option names, or the values of option $2, of verb $1
    local help
    help=$("${COMP_WORDS[0]}" "$1" --help 2>/dev/null) || return
    if [ $# = 1 ]; then
        grep -oE -- '--[a-z0-9-]+' <<<"$help"
    else
        sed -nE "s/^ *(-[a-z], )? *$2 ([a-z0-9|-]+\|[a-z0-9|-]+).*/\2/p" <<<"$help" | tr '|' '\n'
    fi
}

_osprey() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]}
    local IFS=$'\n'
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W $'devices\ninspect\nbuild\nrun\ndetect\ncompare\nbench\nhelp\n--help\n--version' -- "$word"))
        return
    fi
    if [ "$verb" = help ]; then
        COMPREPLY=($(compgen -W $'devices\ninspect\nbuild\nrun\ndetect\ncompare\nbench' -- "$word"))
        return
    fi
    if [[ $before == --* ]]; then
        COMPREPLY=($(compgen -W "$(_osprey_words "$verb" "$before")" -- "$word"))
        [ ${#COMPREPLY[@]} = 0 ] || return
    fi
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$(_osprey_words "$verb")" -- "$word"))
        return
    fi
    compopt -o filenames
    COMPREPLY=($(compgen -f -- "$word"))
}

complete -F _osprey osprey
