"""Holds answers of the REST door against its OpenAPI document: an address, method, status, header,
content type, problem code or JSON member that the document lacks is a defect of one of the two.
Python's standard library only; what of JSON Schema the document uses is checked here."""
import atexit
import functools
import json
import os
import re
import subprocess
import sys

# Of the HTTP server itself, whatever the operation; Allow goes with 405.
SERVER_HEADERS = {'server', 'date', 'connection', 'content-length', 'transfer-encoding',
                  'content-type', 'allow', 'vary', 'access-control-allow-origin', 'access-control-allow-methods',
                  'access-control-allow-headers', 'access-control-expose-headers',
                  'access-control-max-age'}
# Answers where there is no operation: to no, wrong and unknown addresses and methods.
OUTSIDE = {400: {'invalid', 'bad-http'}, 401: {'unauthenticated'}, 404: {'no-route'},
           405: {'method'}, 413: {'too-large'}, 414: {'uri-too-long'},
           431: {'headers-too-large'}, 501: {'not-implemented'}, 503: {'busy', 'no-memory'}}


class Undocumented(AssertionError):
    """The document does not allow this answer."""


@functools.lru_cache(maxsize=None)
def document(binary):
    """The document of a binary (a tuple of words)."""
    env = {name: value for name, value in os.environ.items() if name != 'HOLDFAST_FAULT'}
    found = subprocess.run([*binary, 'openapi'], env=env, check=True, capture_output=True)
    return Contract(json.loads(found.stdout))


BROKEN = []


def check(binary, method, target, answer):
    """Raises Undocumented. A test that catches it, or has it in a thread, fails at its end."""
    try:
        document(tuple(binary)).check(method, target, answer.status, answer.headers.items(),
                                      answer.body)
    except Undocumented as wrong:
        BROKEN.append(str(wrong))
        raise


@atexit.register
def _tell():
    if BROKEN:
        print(f'FAILED: {len(BROKEN)} answers are not as /openapi.json says', *BROKEN[:5],
              sep='\n', flush=True)
        sys.stderr.flush()
        os._exit(1)


class Contract:
    def __init__(self, api):
        self.api = api
        self.paths = []
        for template, verbs in api['paths'].items():
            parts = re.split(r'(\{\w+\})', template)
            pattern = ''.join(
                ('.+' if part == '{key}' else '[^/]+') if part.startswith('{') else re.escape(part)
                for part in parts)
            self.paths.append((re.compile(pattern + r'\Z', re.S), verbs))

    def resolve(self, node):
        while '$ref' in node:
            found = self.api
            for name in node['$ref'].removeprefix('#/').split('/'):
                found = found[name]
            node = found
        return node

    def operation(self, method, path):
        """The operation that a request is for, or None. HEAD goes where GET goes."""
        for pattern, verbs in self.paths:
            if pattern.match(path):
                found = verbs.get(method.lower())
                return verbs.get('get') if found is None and method == 'HEAD' else found
        return None

    def check(self, method, target, status, headers, body):
        """headers: pairs. Raises Undocumented."""
        where = f'{method} {target[:200]} -> {status}'
        operation = self.operation(method, target.split('?')[0])
        media = next((v for k, v in headers if k.lower() == 'content-type'), '').split(';')[0]
        try:
            if operation is None:
                self._outside(status, media, body)
            elif str(status) not in operation['responses']:
                raise Undocumented('no such status')
            else:
                answer = self.resolve(operation['responses'][str(status)])
                self._headers(answer, headers)
                if method != 'HEAD' and body:
                    self._content(answer, media, body)
        except Undocumented as wrong:
            raise Undocumented(f'{where}: not as /openapi.json says: {wrong}') from None

    def _outside(self, status, media, body):
        if status not in OUTSIDE:
            raise Undocumented('no such operation')
        if body:
            code = json.loads(body)['code']
            if media != 'application/problem+json' or code not in OUTSIDE[status]:
                raise Undocumented(f'{media}, {code} where there is no operation')

    def _headers(self, answer, headers):
        known = {name.lower() for name in answer.get('headers', {})}
        for name, _ in headers:
            name = name.lower()
            if name.startswith('holdfast-meta-'):
                name = 'holdfast-meta-name'
            if name not in known and name not in SERVER_HEADERS:
                raise Undocumented(f'header {name}')

    def _content(self, answer, media, body):
        content = answer.get('content', {})
        schema = content.get(media) or content.get('*/*') or content.get(
            media.split('/')[0] + '/*')
        if schema is None:
            raise Undocumented(f'content type {media!r}')
        if media in content and media in ('application/json', 'application/problem+json'):
            self.value(schema['schema'], json.loads(body), 'body')

    def value(self, schema, value, where):
        """Holds value against schema. Members of objects must be in it."""
        schema = self.resolve(schema)
        if schema == {'type': 'object'}:
            return
        if 'allOf' in schema:
            for one in schema['allOf']:
                self.value({**one, 'open': True} if '$ref' not in one else one, value, where)
            return
        if 'anyOf' in schema:
            self._any_of(schema, value, where)
            return
        self._type(schema, value, where)
        if 'enum' in schema and value is not None and value not in schema['enum']:
            raise Undocumented(f'{where} is {value!r}')
        if isinstance(value, str):
            self._string(schema, value, where)
        elif isinstance(value, list):
            for at, one in enumerate(value):
                self.value(schema['items'], one, f'{where}[{at}]')
        elif isinstance(value, dict):
            self._object(schema, value, where)

    def _any_of(self, schema, value, where):
        problems = []
        for one in schema['anyOf']:
            try:
                self.value(one, value, where)
                return
            except Undocumented as wrong:
                problems.append(str(wrong))
        raise Undocumented('; '.join(problems))

    def _type(self, schema, value, where):
        if 'type' not in schema:
            return
        names = {dict: 'object', list: 'array', str: 'string', bool: 'boolean', int: 'integer',
                 type(None): 'null', float: 'number'}
        kinds = schema['type'] if isinstance(schema['type'], list) else [schema['type']]
        if names[type(value)] not in kinds:
            raise Undocumented(f'{where} is a {names[type(value)]}, not {kinds}')
        if type(value) is int and value < schema.get('minimum', value):
            raise Undocumented(f'{where} is {value}')

    def _string(self, schema, value, where):
        if 'pattern' in schema and not re.search(schema['pattern'], value):
            raise Undocumented(f'{where} is {value!r}')
        if len(value) > schema.get('maxLength', len(value)):
            raise Undocumented(f'{where} has {len(value)} characters')
        if schema.get('format') == 'date-time' and not re.fullmatch(
                r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z', value):
            raise Undocumented(f'{where} is {value!r}')

    def _object(self, schema, value, where):
        known = schema.get('properties', {})
        more = schema.get('additionalProperties')
        missing = set(schema.get('required', ())) - set(value)
        if missing:
            raise Undocumented(f'{where} lacks {sorted(missing)}')
        for name, one in value.items():
            if name in known:
                self.value(known[name], one, f'{where}.{name}')
            elif more:
                self.value(more, one, f'{where}.{name}')
            elif not schema.get('open'):
                raise Undocumented(f'{where} has a member {name!r}')
