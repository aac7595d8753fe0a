"""
Programs on the public API.

    cli/      the command `securelink`
    chat/     the chat
    console/  the operator's console, beside a server or through `attach`
    load/     simulated clients for a server of one's own
"""
