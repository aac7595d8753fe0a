"""
A bridge between a channel of Discord and the players of a game: a bot and a session server in one event loop.

    pip install discord.py
    DISCORD_TOKEN=... DISCORD_CHANNEL=123 python examples/discord_bridge.py     # prints an invite for a player

What somebody writes in the channel goes to all players as "said"; what a player says ("say") goes to the channel. The
bot needs the intent "message content", which is switched on at https://discord.com/developers.
"""

import os

import discord

from securelink import Received, aio


class Bridge(discord.Client):
    """
    A bot that has a session server.

    Args:
        channel: The number of its channel.
        host: Where the server listens, and the name by which players reach it.
        port: Likewise.
    """

    def __init__(self, channel: int, host: str = "127.0.0.1", port: int = 5050) -> None:
        intents = discord.Intents(guilds=True, guild_messages=True, message_content=True)
        # A player cannot call everybody, or name somebody.
        super().__init__(intents=intents, allowed_mentions=discord.AllowedMentions.none())
        self._place = channel
        self.players = aio.Server(host, port, authenticate="tokens")
        self.players.on("say", self._said)

    async def setup_hook(self) -> None:
        """By discord.py: the bot is logged in. The server starts in the same event loop."""
        await self.players.start()
        print("invite:", self.players.invite(user="ada"))

    async def close(self) -> None:
        """By discord.py, or Ctrl-C: players are told that it ends."""
        await self.players.stop()
        await super().close()

    async def on_message(self, message: discord.Message) -> None:
        """Somebody has written something: also the bot itself, which players know already."""
        if message.channel.id == self._place and not message.author.bot:
            self.players.broadcast("said", [message.author.display_name, message.clean_content])

    async def _said(self, session: aio.Session, packet: Received) -> None:
        """A player says something. Discord takes a moment; the player's next packet waits, other players do not."""
        if not isinstance(packet.data, str):
            return
        self.players.broadcast("said", [session.user, packet.data], exclude=[session])
        channel = self.get_channel(self._place)
        if isinstance(channel, discord.abc.Messageable):
            name = discord.utils.escape_markdown(session.user)
            await channel.send(f"**{name}**: {packet.data}"[:2000])  # the longest message


if __name__ == "__main__":
    Bridge(int(os.environ["DISCORD_CHANNEL"])).run(os.environ["DISCORD_TOKEN"])
