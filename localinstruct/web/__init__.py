"""Pages on this machine, for one person: the foundation, and `review` on it.

A page is a list of Starlette routes whose functions return `pages.respond(...)`. To serve one:

    door = doors.open_door(folder, "review", use_socket=seal.status() is not seal.OPEN)
    doors.serve(routes, door)          # until Ctrl-C; says nothing itself

    doors       where a page is reached: a port of loopback or a unix socket, and serving it there
    guard       what is refused (other hosts, origins, users, no cookie, too much), and the headers
    pages       templates and static files; every text is shown as text, hidden characters named
    forward     `localinstruct open`: a port of loopback for a page that stands in the seal
    review      rows looked at, kept, dropped, mended and labelled

Everything is served from the package, nothing from a network; `vendored/manifest.json` has the
licence and SHA-256 of what is not ours. Not covered: several persons at one page, and a page for
another machine (forward the port with ssh).
"""
