"""A Hub on loopback: huggingface_hub, transformers, datasets and evaluate take this server for huggingface.co.

It is in memory and like git: a commit is a snapshot that never changes, branches and tags are names of commits, and a
branch moves only to a commit that has arrived whole. All belongs to one `user`; there is no Xet, no pull request.
"""

import base64
import hashlib
import json
import os
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from subprocess import check_output
from textwrap import dedent
from urllib.parse import parse_qs, unquote

LFS_ENDINGS = (".arrow", ".bin", ".npy", ".npz", ".parquet", ".pt", ".safetensors", ".zip")
DATE = "2020-01-01T00:00:00Z"  # of all commits, so that nothing depends on the clock
ENVIRONMENT = {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


class Answer(Exception):
    """An answer other than JSON with status 200: status, content and headers."""


def check(holds, status, message, code="", headers=(), **content):
    """Answer with an error, and the Hub's code for it, unless something holds."""
    if not holds:
        headers = {"X-Error-Message": message, "X-Error-Code": code, **dict(headers)}
        raise Answer(status, json.dumps({"error": message, **content}).encode(), headers)


class File:
    """Content, what the API says of it, and its ETag: the name that git has for it, or the sha256 of an LFS object."""

    def __init__(self, path, data, commit, lfs=False):
        self.data, self.etag = data, hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        self.entry = {"type": "file", "path": path, "oid": self.etag, "size": len(data), "lastCommit": commit.about}
        if lfs:
            self.etag = hashlib.sha256(data).hexdigest()
            self.entry["lfs"] = {"oid": self.etag, "sha256": self.etag, "size": len(data), "pointerSize": 134}


class Commit:
    """All files by path as they were at one time, and the commits up to here, newest first."""

    def __init__(self, title, message="", files=(), history=()):
        self.files, self.history, self.sha = dict(files), [self, *history], os.urandom(20).hex()
        self.about = {"id": self.sha, "title": title, "message": message, "date": DATE, "authors": []}

    def tree(self):
        """What the API says of every file and folder, by path, always as much as it says with `expand`."""
        folders = {path[: slash.start()] for path in self.files for slash in re.finditer("/", path)}
        entries = {path: {"type": "directory", "path": path, "oid": self.sha, "size": 0} for path in folders}
        return entries | {path: file.entry for path, file in self.files.items()}


class Repo:
    """Commits by ref, and uploaded LFS objects by sha256, which are in no snapshot until a commit names them."""

    def __init__(self, name, private):
        self.private, self.about = private, {"id": name, "private": private, "lastModified": DATE}
        self.refs, self.objects = {"refs/heads/main": Commit("initial commit")}, {}

    def at(self, revision):
        """The commit that a branch, a tag or a full sha names."""
        named = {commit.sha: commit for tip in self.refs.values() for commit in tip.history}
        named |= {ref.split("/", 2)[2]: tip for ref, tip in self.refs.items()}
        check(revision in named, 404, "Invalid rev id", "RevisionNotFound")
        return named[revision]

    def commit(self, branch, header, operations):
        """Move a branch to a new commit with all of the operations."""
        head = self.refs.get(f"refs/heads/{branch}")
        check(head, 404, "Invalid rev id", "RevisionNotFound")
        check(header.get("parentCommit", head.sha) == head.sha, 412, "A commit has happened since")
        new = Commit(header["summary"], header["description"], head.files, head.history)
        for kind, value in operations:
            path = value["path"].rstrip("/")
            if kind == "file":
                new.files[path] = File(path, base64.b64decode(value["content"]), new)
            elif kind == "lfsFile":
                check(value["oid"] in self.objects, 400, "An LFS pointer points to an object that was not uploaded")
                new.files[path] = File(path, self.objects[value["oid"]], new, lfs=True)
            else:  # deletedFile, deletedFolder
                check(path in new.tree(), 404, "A file with this name doesn't exist", "EntryNotFound")
                new.files = {name: file for name, file in new.files.items() if not f"{name}/".startswith(f"{path}/")}
        self.refs[f"refs/heads/{branch}"] = new
        return new.sha


class Handler(BaseHTTPRequestHandler):
    """One request: reads it, answers it and lets go wrong what a test wants to."""

    def respond(self):
        fault = self.server.take_fault(request := f"{self.command} {unquote(self.path)}")
        breaks_off = fault in ("close", "hang")
        length = int(self.headers.get("Content-Length", 0))
        self.body = self.rfile.read(length // 2 if breaks_off else length)
        if len(self.body) == length:  # half a request is none
            try:
                check(not isinstance(fault, int), fault, "A fault made by a test")
                with self.server.lock:
                    status, content, headers = 200, json.dumps(self.answer()).encode(), {}
            except Answer as answer:
                status, content, headers = answer.args
            content = fault(content) if callable(fault) else content
            self.server.requests.append(f"{request} {status}")
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": len(content)}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if breaks_off else content)
        if fault == "hang":
            self.rfile.read()  # returns when the client leaves

    do_HEAD = do_GET = do_POST = do_PUT = do_DELETE = respond

    def answer(self):
        """See who wants what of which repository."""
        path, _, query = self.path.partition("?")
        parts = [unquote(part) for part in path.removeprefix("/api").split("/")[1:]]
        repos, token = self.server.repos, self.headers.get("Authorization", "").removeprefix("Bearer ")
        role = self.server.tokens.get(token)
        writes = self.command in ("POST", "DELETE") and not {"validate-yaml", "paths-info"} & {*parts}
        check(role or not token, 401, "Invalid credentials in Authorization header")
        if parts == ["whoami-v2"]:
            return {"type": "user", "name": "user", "orgs": [], "auth": {"accessToken": {"role": role}}}
        if parts == ["validate-yaml"]:
            return {"errors": [], "warnings": []}
        if parts[0] == "repos":  # a repository to create is named in the body
            wanted = json.loads(self.body)
            parts = [wanted.get("type", "model") + "s", wanted["organization"] or "user", wanted["name"], parts[1]]
        parts = parts if parts[0] in ("models", "datasets", "spaces") else ["models", *parts]  # the pages of models
        check(not writes or (role == "write" and parts[1] == "user"), 403 if role else 401, "No right to write here")
        key, action = "/".join(parts[:3]).removesuffix(".git"), parts[3:] or ["revision", "main"]
        self.page = f"{self.server.endpoint}/{key.removeprefix('models/')}"
        if action == ["create"]:
            check(key not in repos, 409, "You already created this repo", url=self.page)
            repos[key] = Repo("/".join(parts[1:3]), wanted.get("private") or wanted.get("visibility") == "private")
            return {"url": self.page}
        known = key in repos and (role or self.command == "PUT" or not repos[key].private)  # links to PUT are signed
        check(known, 404 if role else 401, "Repository not found", "RepoNotFound")
        return self.act(repos[key], query, action)

    def act(self, repo, query, action):
        """What the API does with a repository."""
        match [self.command.replace("HEAD", "GET"), *action]:
            case ["GET", "revision", revision]:
                commit, blobs = repo.at(revision), "blobs" in query
                files = [{"rfilename": path, **(file.entry if blobs else {})} for path, file in commit.files.items()]
                return {**repo.about, "sha": commit.sha, "siblings": files}
            case ["GET", "refs"]:
                refs = {"branches": [], "tags": [], "converts": []}
                for ref, tip in repo.refs.items():
                    kind = "tags" if ref.startswith("refs/tags/") else "branches"
                    refs[kind].append({"name": ref.split("/", 2)[2], "ref": ref, "targetCommit": tip.sha})
                return refs
            case ["GET", "commits", revision]:
                return [commit.about for commit in repo.at(revision).history]
            case ["GET", "tree", revision, *path]:
                tree, start, deep = repo.at(revision).tree(), "".join(f"{p}/" for p in path), "recursive=true" in query
                check(not path or start[:-1] in tree, 404, "Entry not found", "EntryNotFound")
                return [tree[p] for p in sorted(tree) if p.startswith(start) and (deep or "/" not in p[len(start) :])]
            case ["GET", "resolve", revision, *path]:
                self.resolve(repo.at(revision), "/".join(path))
            case ["POST", "paths-info", revision]:
                tree = repo.at(revision).tree()
                return [tree[path] for path in parse_qs(self.body.decode())["paths"] if path in tree]
            case ["POST", "preupload", revision]:
                wanted, files = json.loads(self.body)["files"], repo.at(revision).files
                for file in wanted:
                    lfs, old = file["size"] > 10 * 2**20 or file["path"].endswith(LFS_ENDINGS), files.get(file["path"])
                    file |= {"uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, "oid": old and old.etag}
                return {"files": wanted}
            case ["POST", "info", "lfs", "objects", "batch"]:
                wanted = json.loads(self.body)["objects"]
                for one in [one for one in wanted if one["oid"] not in repo.objects]:
                    one["actions"] = {"upload": {"href": f"{self.page}/lfs/{one['oid']}"}}
                return {"transfer": "basic", "objects": wanted}
            case ["PUT", "lfs", oid]:
                check(hashlib.sha256(self.body).hexdigest() == oid, 400, "The content has another sha256")
                repo.objects[oid] = self.body
            case ["POST", "commit", branch]:
                (_, header), *operations = [json.loads(line).values() for line in self.body.splitlines()]
                sha = repo.commit(branch, header, operations)
                return {"commitOid": sha, "commitUrl": f"{self.page}/commit/{sha}"}
            case ["POST", "branch" | "tag" as what, name]:
                wanted = json.loads(self.body)
                ref = f"refs/heads/{name}" if what == "branch" else f"refs/tags/{wanted['tag']}"
                check(ref not in repo.refs, 409, "Reference already exists")
                repo.refs[ref] = repo.at(wanted.get("startingPoint", "main" if what == "branch" else name))
            case _:
                check(False, 404, "Not found")

    def resolve(self, commit, path):
        """Send a file, or the range of its bytes that is asked for."""
        headers = {"X-Repo-Commit": commit.sha, "Accept-Ranges": "bytes"}
        check(path in commit.files, 404, "Entry not found", "EntryNotFound", headers)
        file, size = commit.files[path], len(commit.files[path].data)
        headers["ETag"] = f'"{file.etag}"'
        if "lfs" in file.entry:
            headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": size}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, stop = (int(span[1]), min(int(span[2] or size) + 1, size)) if span else (0, size)
        check(start < stop or not span, 416, "Range not satisfiable", headers={"Content-Range": f"bytes */{size}"})
        headers |= {"Content-Range": f"bytes {start}-{stop - 1}/{size}"} if span else {}
        raise Answer(206 if span else 200, file.data[start:stop], headers)


class HubServer(ThreadingHTTPServer):
    """The Hub for the holders of `tokens`, {token: "write" or "read"}, until its `with` block ends.

    Clients need `environment`; `repos["models/user/name"].at("main").files` is what they pushed, `requests` their log.
    """

    def __init__(self, tokens=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.tokens, self.endpoint = tokens or {"rw": "write", "ro": "read"}, f"http://127.0.0.1:{self.server_port}"
        self.environment = {**ENVIRONMENT, "HF_ENDPOINT": self.endpoint, "HF_TOKEN": next(iter(self.tokens))}
        self.repos, self.requests, self.faults, self.lock = {}, [], {}, threading.Lock()
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()

    def server_close(self):
        self.shutdown()
        super().server_close()

    def fail(self, request, how, times=1):
        """Let the next requests that match a regular expression, such as "POST .*/commit/", go wrong.

        `how` is a status to answer, "close" or "hang" for what to do in the middle of the body (the request's, or the
        answer's where the request has none), or a function from the bytes of the answer to those sent instead.
        """
        self.faults.setdefault(request, []).extend([how] * times)

    def take_fault(self, request):
        with self.lock:
            return next((left.pop(0) for one, left in self.faults.items() if left and re.match(one, request)), None)

    def run(self, code, **environment):
        """What Python code prints in a process with this Hub, an empty folder and HF_HOME, without our code (-S)."""
        packages = os.pathsep.join(path for path in sys.path if path.endswith("-packages"))
        with tempfile.TemporaryDirectory() as home:
            env = {**os.environ, **self.environment, "HF_HOME": home, "PYTHONPATH": packages, **environment}
            return check_output([sys.executable, "-S", "-c", dedent(code)], env=env, cwd=home, text=True, timeout=300)
