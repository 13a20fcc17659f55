# The laws of the source that a line scanner can see. Called by layers.sh with the files of src/ and tests/; prints one line a
# fault, "file:line: sentence". Comments, strings and characters are blanked before the code is looked at.

BEGIN {
    split("base num dev mem model train app", floors, " ")
    for (i in floors) rank[floors[i]] = i
    LINES_MAX = 1000; FUNCTION_MAX = 80; PARAMETERS_MAX = 6
}

function fault(line, text) { print FILENAME ":" line ": " text }

# src/mem/pager.c -> mem; src/api.c and tests -> ""
function floor_of(path,    parts, n, i) {
    n = split(path, parts, "/")
    for (i = 1; i < n - 1; i++) if (parts[i] == "src" && (parts[i + 1] in rank)) return parts[i + 1]
    return ""
}

function open_file() {
    end_file()
    file = FILENAME; floor = floor_of(FILENAME)
    in_src = FILENAME ~ /(^|\/)src\//; in_test = FILENAME ~ /(^|\/)tests\//
    library = in_src && floor != "app"
    in_comment = 0; depth = 0; head = ""; head_line = 0; in_function = 0; directive = 0
    lines = 0; table = 0; reason = 0
}

function end_file() {
    if (file != "" && lines > LINES_MAX && !table) print file ":" lines ": longer than " LINES_MAX " lines"
}

# The line without comments and with empty strings; remembers whether we are inside a comment.
function code_of(s,    out, i, c) {
    out = ""
    while (s != "") {
        if (in_comment) {
            i = index(s, "*/")
            if (!i) return out
            s = substr(s, i + 2); in_comment = 0
            continue
        }
        if (!match(s, /["']|\/\*|\/\//)) return out s
        out = out substr(s, 1, RSTART - 1)
        c = substr(s, RSTART, 1)
        if (c == "/") {
            if (substr(s, RSTART + 1, 1) == "/") return out
            in_comment = 1; s = substr(s, RSTART + 2)
        } else {
            s = substr(s, RSTART + 1)
            while (s != "" && substr(s, 1, 1) != c) s = substr(s, substr(s, 1, 1) == "\\" ? 3 : 2)
            s = substr(s, 2); out = out c c
        }
    }
    return out
}

# How many parameters the head of a function has: commas outside of inner brackets, in its first bracket that follows a name.
function parameters(h,    i, c, level, n) {
    level = 0; n = 0
    for (i = index(h, "("); i && i <= length(h); i++) {
        c = substr(h, i, 1)
        if (c == "(") level++
        else if (c == ")") { if (--level == 0) break }
        else if (c == "," && level == 1) n++
    }
    return n + 1
}

function name_of(h) {
    sub(/[ \t]*\(.*/, "", h); sub(/.*[ \t*]/, "", h)
    return h
}

function begin_function() {
    in_function = 1; function_line = head_line; function_name = name_of(head)
    function_reason = NR_long && NR_long >= head_line - 4
    if (!function_reason && parameters(head) > PARAMETERS_MAX && in_src)
        fault(head_line, function_name " has " parameters(head) " parameters, more than " PARAMETERS_MAX)
}

function end_function(line) {
    in_function = 0
    if (NR_long >= function_line && NR_long <= function_line + 4) function_reason = 1
    if (line - function_line + 1 > FUNCTION_MAX && !function_reason)
        fault(function_line, function_name " has " line - function_line + 1 " lines, more than " FUNCTION_MAX ", and no comment \"long: why\" above it")
}

FNR == 1 { open_file(); NR_long = 0 }

{
    lines = FNR
    if (FNR <= 40 && /table:/) table = 1
    if (/long:/) NR_long = FNR
    raw = $0
    if (!in_comment && raw ~ /^[ \t]*#[ \t]*include/) {
        target = raw
        if (target ~ /\.c[">]/) fault(FNR, "includes a .c file")
        if (in_src && target ~ /"/) {
            sub(/^[^"]*"/, "", target); sub(/".*/, "", target)
            to = target; sub(/\/.*/, "", to)
            if (floor == "app") {
                if (target != "moped.h" && to != "base" && to != "app") fault(FNR, "app includes " target "; it sees only moped.h and base")
            } else if (floor != "") {
                if (target == "moped.h") fault(FNR, floor " includes moped.h, which belongs to api*.c and app")
                else if (!(to in rank)) fault(FNR, "include \"" target "\" is not written from src/")
                else if (rank[to] > rank[floor]) fault(FNR, floor " includes " target ", a higher floor")
            }
        }
    }
    was_directive = directive
    code = code_of(raw)
    # Directives are no code; one goes on while its lines end in a backslash.
    if (was_directive || (code ~ /^[ \t]*#/)) { directive = raw ~ /\\$/; next }
    directive = 0

    if (library) {
        if (code ~ /(^|[^A-Za-z0-9_.>])(printf|vprintf|puts|putchar|perror|exit|_exit|abort|quick_exit)[ \t]*\(/)
            fault(FNR, "prints or ends the process below app: " raw)
        if (code ~ /(^|[^A-Za-z0-9_.>])(getenv|secure_getenv)[ \t]*\(/) fault(FNR, "reads the environment below app")
        if (code ~ /(^|[^A-Za-z0-9_])(stdout|stderr)([^A-Za-z0-9_]|$)/) fault(FNR, "uses the program's streams below app")
        if (FILENAME !~ /(base\/ledger|src\/api(_[a-z]+)?)\.c$/ && code ~ /(^|[^A-Za-z0-9_.>])(malloc|calloc|realloc|strdup|strndup|aligned_alloc|posix_memalign|asprintf)[ \t]*\(/)
            fault(FNR, "allocates past the ledger")
    }

    # Braces. What stands at depth 0 since the last ; or } is the head of what { opens.
    rest = code
    while (match(rest, /[{};]/)) {
        c = substr(rest, RSTART, 1); before = substr(rest, 1, RSTART - 1); rest = substr(rest, RSTART + 1)
        if (depth == 0) {
            if (before ~ /[^ \t]/) { if (head == "") head_line = FNR; head = head " " before }
            if (c == "{" && head ~ /\(/ && head !~ /=/ && head !~ /^[ \t]*(typedef|enum|struct [A-Za-z_0-9]* *$)/) begin_function()
            if (c != "{" || !in_function) { if (c == ";") head = "" }
        }
        if (c == "{") depth++
        else if (c == "}") {
            if (depth > 0) depth--
            if (depth == 0) { if (in_function) end_function(FNR); head = "" }
        }
    }
    if (depth == 0 && rest ~ /[^ \t]/) { if (head == "") head_line = FNR; head = head " " rest }
}

END { end_file() }
