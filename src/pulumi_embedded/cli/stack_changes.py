"""The commands `stack rename`, `stack change-secrets-provider` and `stack graph`."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click

from pulumi_embedded.cli.context import CommandContext, pass_context, warn
from pulumi_embedded.cli.flags import stack_option
from pulumi_embedded.errors import EngineError, Unsupported
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.urns import urn_name
from pulumi_embedded.storage.checkpoint import Codec
from pulumi_embedded.storage.editing import rename_stack
from pulumi_embedded.storage.files import write_private
from pulumi_embedded.storage.workspace import check_stack_name, select_stack

__all__ = ["change_secrets_provider", "graph", "rename"]


@click.command()
@click.argument("new")
@stack_option
@pass_context
def rename(context: CommandContext, new: str, stack_name: str | None) -> None:
    """Rename an existing stack, its configuration file and its history, and select it.

    A program that uses the stack's name in the name of a resource gets another resource at the next update.
    """
    opened = context.stack(stack_name)
    session, project = opened.session, opened.project
    name = session.short_name(new)
    check_stack_name(name)
    with opened.lock(warn):
        if session.backend.exists(project, name):
            raise EngineError(f"a stack named {name} already exists")
        deployment = session.backend.read(project, opened.name) or {}
        rename_stack(deployment, project, opened.name, name)
        session.backend.rename(project, opened.name, name, deployment)
    if opened.config.path.is_file():
        opened.config.path.rename(opened.config.path.with_name(f"Pulumi.{name}.yaml"))
    select_stack(session.project, session.backend.url, name)
    click.echo(f"Renamed {context.shown_name(session, opened.name)} to {context.shown_name(session, name)}")


@click.command(name="change-secrets-provider")
@click.argument("provider")
@stack_option
@pass_context
def change_secrets_provider(context: CommandContext, provider: str, stack_name: str | None) -> None:
    """Encrypt the stack's secrets with a new passphrase; the only provider here is 'passphrase'.

    The new passphrase is asked for in a terminal, otherwise it is the first line of standard input. The old one comes
    from the environment, as for every command.
    """
    if provider != "passphrase":
        raise Unsupported(f"the secrets provider {provider!r}")
    opened = context.stack(stack_name)
    with opened.lock(warn):
        snapshot = opened.snapshot(opened.codec())
        passphrase = _new_passphrase(context)
        crypter = opened.config.seal_with(passphrase)
        click.echo("Migrating old configuration and state to new secrets provider")
        # The state comes first. It contains its own salt, so it can be read with any configuration.
        opened.write(Codec(crypter), snapshot)
        opened.session.backend.back_up(opened.project, opened.name)
        opened.config.save()


def _new_passphrase(context: CommandContext) -> str:
    if not context.interactive:
        line = sys.stdin.readline()
        if not line:
            raise EngineError(
                "there is no new passphrase on standard input; give it as the first line:\n"
                "  pulumi-embedded stack change-secrets-provider passphrase < FILE"
            )
        return line.strip()
    return str(
        click.prompt(
            "Enter your new passphrase to protect config/secrets",
            hide_input=True,
            default="",
            show_default=False,
            confirmation_prompt="Re-enter your new passphrase to confirm",
        )
    )


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@stack_option
@click.option("--ignore-parent-edges", is_flag=True, help="Leave out the edges between parents and children.")
@click.option("--ignore-dependency-edges", is_flag=True, help="Leave out the edges of dependencies.")
@click.option("--parent-edge-color", default="#AA6639", help="The color of edges between parents and children.")
@click.option("--dependency-edge-color", default="#246C60", help="The color of dependencies' edges.")
@click.option("--short-node-name", is_flag=True, help="Label the nodes with the resources' names.")
@click.option("--dot-fragment", default="", help="A text in DOT to put at the top of the graph.")
@pass_context
def graph(  # noqa: PLR0913 - the options of a command
    context: CommandContext,
    /,
    file: Path,
    stack_name: str | None,
    ignore_parent_edges: bool,
    ignore_dependency_edges: bool,
    parent_edge_color: str,
    dependency_edge_color: str,
    short_node_name: bool,
    dot_fragment: str,
) -> None:
    """Export a stack's dependency graph to a file, in the language DOT."""
    opened = context.stack(stack_name)
    resources = {state.urn: state for state in opened.snapshot(opened.codec()).resources}
    edges: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for urn, resource in resources.items():
        if not ignore_dependency_edges:
            for needed in resource.dependencies:
                edges[needed].append((urn, _attributes(dependency_edge_color, _properties(resource, needed))))
        if resource.parent and not ignore_parent_edges:
            edges[urn].append((resource.parent, _attributes(parent_edge_color)))
    label = urn_name if short_node_name else str
    lines = [
        "strict digraph {",
        *([dot_fragment] if dot_fragment else []),
        *_nodes(sorted(resources), edges, label),
        "}",
    ]
    if write_private(context.folder / file, "\n".join([*lines, ""])):
        warn(f"other users of this machine could read {file}; corrected its mode")
    click.echo(f"Wrote stack dependency graph to `{file}`", err=True)


def _properties(resource: ResourceState, needed: str) -> str:
    """Return the properties that depend on another resource."""
    return ", ".join(key for key, urns in sorted(resource.property_dependencies.items()) if needed in urns)


def _attributes(color: str, label: str = "") -> str:
    attributes = {"color": color, "label": label}
    text = ", ".join(f'{name} = "{value}"' for name, value in attributes.items() if value)
    return f" [{text}]" if text else ""


def _nodes(urns: list[str], edges: Mapping[str, list[tuple[str, str]]], label: Callable[[str], str]) -> Iterator[str]:
    """Return a line for every resource and each of its edges. Nodes are numbered in the order of their first use."""
    ids: dict[str, str] = {}
    for urn in urns:
        id_ = ids.setdefault(urn, f"Resource{len(ids)}")
        yield f'    {id_} [label="{label(urn)}"];'
        for other, attributes in edges.get(urn, []):
            yield f"    {id_} -> {ids.setdefault(other, f'Resource{len(ids)}')}{attributes};"
