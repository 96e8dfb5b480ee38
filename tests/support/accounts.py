"""Accounts on a server with `--sign-in`, and people who sign in to the app and out of it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.support.screens import turn_to
from tests.support.server import Server

PASSWORD = "a good password"
PATIENCE_MS = 30_000


def add_account(data: Path, name: str) -> None:
    """Add an account to a server's data folder; one that is there already loses its sessions."""
    command = [sys.executable, "-m", "holdfast_server", "accounts", "add", name, "--data", str(data)]
    subprocess.run(command, input=f"{PASSWORD}\n", text=True, check=True, capture_output=True, timeout=60)


def received_by(server: Server, name: str) -> list[dict[str, Any]]:
    """What the server has of this account, in order of receipt."""
    with httpx.Client(base_url=server.url, timeout=10) as client:
        client.post("/api/session", json={"name": name, "password": PASSWORD}).raise_for_status()
        items: list[dict[str, Any]] = client.get("/api/inspections", params={"limit": 1000}).json()["items"]
    return items


def account_link(page: Page) -> Any:
    """The entry of the navigation that says who is signed in."""
    return page.locator("#who")


def expect_account(page: Page, words: str) -> None:
    """Wait for it to say so; Python may just be starting, and the server is asked."""
    expect(account_link(page)).to_have_text(words, timeout=PATIENCE_MS)


def fill_in(page: Page, name: str, password: str = PASSWORD) -> None:
    """Type name and password, and press the button."""
    form = page.locator("#sign-in")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Password").fill(password)
    form.get_by_role("button", name="Sign in").click()


def sign_in(page: Page, name: str) -> None:
    """Through the banner's button, as somebody who reads it would."""
    page.locator("#signed-out").get_by_role("button", name="Sign in").click()
    expect(page.locator("#account-title")).to_be_focused()
    fill_in(page, name)
    expect_account(page, f"Account: {name}")


def sign_out(page: Page) -> None:
    """Through the account's screen."""
    account_link(page).click()
    page.get_by_role("button", name="Sign out").click()
    expect_account(page, "Sign in")
    turn_to(page, "New")
