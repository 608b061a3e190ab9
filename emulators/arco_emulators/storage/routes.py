"""Which request is which operation of the JSON API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arco_emulators.storage.conditions import Conditions
from arco_emulators.storage.errors import StorageError, invalid, no_bucket, not_emulated
from arco_emulators.storage.http import Operation, Request, Response
from arco_emulators.storage.listing import Listing, limit_of, page
from arco_emulators.storage.resources import bucket_resource, media, object_resource
from arco_emulators.storage.state import Source, Storage
from arco_emulators.storage.uploads import Uploads

NO_CONTENT = 204
REFUSED_PARAMETERS = ("rewriteToken", "softDeleted", "restoreToken")


class Routes:
    """Reads requests; what they do is done when the operation is applied."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._uploads = Uploads(storage)

    async def read(self, request: Request) -> Operation:
        """The operation that a request asks for. Errors: StorageError."""
        for name in REFUSED_PARAMETERS:
            if name in request.query:
                raise not_emulated(f"the parameter {name}")
        match request.path:
            case ("storage", "v1", "b", *rest):
                return await self._service(request, tuple(rest))
            case ("download", "storage", "v1", "b", bucket, "o", name):
                return self._download(request, bucket, name)
            case ("upload", "storage", "v1", "b", bucket, "o"):
                return await self._upload(request, bucket)
            case ("batch", *_):
                raise not_emulated("batch requests")
        raise _unknown(request)

    async def _service(self, request: Request, path: tuple[str, ...]) -> Operation:
        match path:
            case ():
                return await self._buckets(request)
            case (bucket,):
                return await self._bucket(request, bucket)
            case (bucket, "o"):
                return self._list(request, bucket)
            case (bucket, "o", name):
                return await self._object(request, bucket, name)
            case (bucket, "o", name, "compose"):
                return await self._compose(request, bucket, name)
            case (bucket, "o", name, "rewriteTo" | "copyTo" as verb, "b", to_bucket, "o", to_name):
                return await self._copy(request, (bucket, name), (to_bucket, to_name), verb)
        raise not_emulated(f"{request.method} /{'/'.join(request.path)}")

    async def _buckets(self, request: Request) -> Operation:
        project = request.query.get("project", "")
        if request.method == "POST":
            given = await request.json()
            return Operation(
                "buckets.insert",
                (str(given.get("name")),),
                lambda: Response.json(
                    bucket_resource(self._storage.create_bucket(project, given), request.base_url)
                ),
            )
        _allow(request, "GET")
        return Operation("buckets.list", ("",), lambda: self._list_buckets(request))

    def _list_buckets(self, request: Request) -> Response:
        prefix, after = request.query.get("prefix", ""), request.query.get("pageToken", "")
        found = sorted(
            name for name in self._storage.buckets if name.startswith(prefix) and name > after
        )
        limit = limit_of(request.query)
        shown = [
            bucket_resource(self._storage.buckets[name], request.base_url) for name in found[:limit]
        ]
        answer: dict[str, Any] = {"kind": "storage#buckets", "items": shown}
        if len(found) > limit:
            answer["nextPageToken"] = found[limit - 1]
        return Response.json(answer)

    async def _bucket(self, request: Request, name: str) -> Operation:
        conditions = Conditions.of(request.query)
        storage, base_url = self._storage, request.base_url

        def get() -> Response:
            bucket = storage.bucket(name)
            conditions.check(bucket, reading=True)
            return Response.json(bucket_resource(bucket, base_url))

        def delete() -> Response:
            storage.delete_bucket(name, conditions)
            return Response(NO_CONTENT)

        if request.method == "GET":
            return Operation("buckets.get", (name,), get)
        if request.method == "DELETE":
            return Operation("buckets.delete", (name,), delete)
        _allow(request, "PATCH")
        given = await request.json()
        return Operation(
            "buckets.patch",
            (name,),
            lambda: Response.json(
                bucket_resource(storage.patch_bucket(name, given, conditions), base_url)
            ),
        )

    def _list(self, request: Request, bucket: str) -> Operation:
        _allow(request, "GET")
        asked = Listing.of(request.query)

        def apply() -> Response:
            found = page(self._storage.bucket(bucket), asked)
            answer: dict[str, Any] = {
                "kind": "storage#objects",
                "items": [object_resource(entry, request.base_url) for entry in found.objects],
                "prefixes": found.prefixes,
            }
            if found.token is not None:
                answer["nextPageToken"] = found.token
            return Response.json(answer)

        return Operation("objects.list", (bucket,), apply)

    async def _object(self, request: Request, bucket: str, name: str) -> Operation:
        if request.method == "GET":
            if request.query.get("alt") == "media":
                return self._download(request, bucket, name)
            return self._get(request, bucket, name)
        conditions, generation = Conditions.of(request.query), _generation(request.query)

        def delete() -> Response:
            self._storage.delete(bucket, name, conditions, generation=generation)
            return Response(NO_CONTENT)

        if request.method == "DELETE":
            return Operation("objects.delete", (bucket, name), delete, writes=True)
        _allow(request, "PATCH", "PUT")
        given, whole = await request.json(), request.method == "PUT"

        def patch() -> Response:
            changed = self._storage.patch(
                bucket, name, given, conditions, generation=generation, whole=whole
            )
            return Response.json(object_resource(changed, request.base_url))

        operation = "objects.update" if whole else "objects.patch"
        return Operation(operation, (bucket, name), patch, writes=True)

    def _get(self, request: Request, bucket: str, name: str) -> Operation:
        conditions = Conditions.of_read(request.query, request.headers)

        def apply() -> Response:
            live = self._storage.live(bucket, name, _generation(request.query))
            conditions.check(live, reading=True)
            return Response.json(object_resource(live, request.base_url))

        return Operation("objects.get", (bucket, name), apply)

    def _download(self, request: Request, bucket: str, name: str) -> Operation:
        _allow(request, "GET")
        conditions = Conditions.of_read(request.query, request.headers)

        def apply() -> Response:
            live = self._storage.live(bucket, name, _generation(request.query))
            conditions.check(live, reading=True)
            return media(live, request.headers)

        return Operation("objects.download", (bucket, name), apply)

    async def _upload(self, request: Request, bucket: str) -> Operation:
        upload_id = request.query.get("upload_id")
        if upload_id is not None:
            _allow(request, "PUT", "DELETE")
            if request.method == "DELETE":
                return self._uploads.cancel(upload_id)
            return await self._uploads.resume(request, upload_id)
        _allow(request, "POST")
        if bucket not in self._storage.buckets:
            raise no_bucket()
        match request.query.get("uploadType"):
            case "media":
                return await self._uploads.media(request, bucket)
            case "multipart":
                return await self._uploads.multipart(request, bucket)
            case "resumable":
                return await self._uploads.begin(request, bucket)
        raise invalid("uploadType must be media, multipart or resumable", parameter="uploadType")

    async def _compose(self, request: Request, bucket: str, name: str) -> Operation:
        _allow(request, "POST")
        given = await request.json()
        if given.get("deleteSourceObjects"):
            raise not_emulated("deleteSourceObjects of objects.compose")
        sources = [_source(entry) for entry in given.get("sourceObjects", ())]
        destination, conditions = given.get("destination", {}), Conditions.of(request.query)

        def apply() -> Response:
            made = self._storage.compose(bucket, name, sources, destination, conditions)
            return Response.json(object_resource(made, request.base_url))

        return Operation("objects.compose", (bucket, name), apply, writes=True)

    async def _copy(
        self, request: Request, source: tuple[str, str], target: tuple[str, str], verb: str
    ) -> Operation:
        _allow(request, "POST")
        given, query = await request.json(), request.query

        def apply() -> Response:
            live = self._storage.live(*source, _generation(query, "sourceGeneration"))
            Conditions.of(query, source=True).check(live)
            # The metadata of the source is taken over as long as the request brings none.
            made = self._storage.put(
                *target,
                live.content,
                given or live.fields,
                Conditions.of(query),
                components=live.components,
            )
            shown = object_resource(made, request.base_url)
            return Response.json(shown if verb == "copyTo" else _rewritten(shown))

        operation = "objects.copy" if verb == "copyTo" else "objects.rewrite"
        return Operation(operation, target, apply, writes=True)


def _source(entry: Mapping[str, Any]) -> Source:
    name, generation = entry.get("name"), entry.get("generation")
    if not isinstance(name, str):
        raise invalid("Each of sourceObjects needs a name", parameter="sourceObjects")
    asked = {key: str(value) for key, value in entry.get("objectPreconditions", {}).items()}
    return Source(name, None if generation is None else int(generation), Conditions.of(asked))


def _rewritten(shown: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "storage#rewriteResponse",
        "totalBytesRewritten": shown["size"],
        "objectSize": shown["size"],
        "done": True,
        "resource": shown,
    }


def _generation(query: Mapping[str, str], name: str = "generation") -> int | None:
    given = query.get(name)
    if given is None:
        return None
    if not given.isdecimal():
        raise invalid(f"Invalid value '{given}' for {name}", parameter=name)
    return int(given)


def _allow(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise StorageError(405, "methodNotAllowed", f"{request.method} is not allowed here")


def _unknown(request: Request) -> StorageError:
    return StorageError(404, "notFound", f"Not Found: /{'/'.join(request.path)}")
