"""
The first game (docs/FIRST_GAME.md): the arrow keys move your square, Escape leaves. Needs pygame-ce.

    python examples/first_game.py [HOST [PORT]]
"""

import sys

import pygame

from securelink import Client, SecureLinkError

WIDTH, HEIGHT, SIZE = 640, 480, 24


def main() -> None:
    host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 5050
    try:
        with Client(host, port) as client:
            play(client)
    except SecureLinkError as error:
        print(error)  # it says what happened, and what to do


def play(client: Client) -> None:
    pygame.init()
    screen, clock = pygame.display.set_mode((WIDTH, HEIGHT)), pygame.time.Clock()
    world: dict[str, list[list[int]]] = {}
    told = [0, 0]  # how the server knows that we steer
    while True:
        events = [event.type for event in pygame.event.get()]
        keys = pygame.key.get_pressed()
        if pygame.QUIT in events or keys[pygame.K_ESCAPE]:
            return
        right, left = keys[pygame.K_RIGHT], keys[pygame.K_LEFT]
        steering = [right - left, keys[pygame.K_DOWN] - keys[pygame.K_UP]]
        if steering != told:
            client.send("steer", steering)
            told = steering
        for packet in client.poll():  # all that has come, without waiting
            if packet.action == "world":
                world = packet.data
        screen.fill((16, 16, 32))
        for token, (where, colour) in world.items():
            pygame.draw.rect(screen, colour, (*where, SIZE, SIZE))
            if token == client.token:
                pygame.draw.rect(screen, "white", (*where, SIZE, SIZE), width=2)
        pygame.display.flip()
        clock.tick(60)


main()
