'use strict';
// Shows /openapi.json. Builds elements and sets their text only, so nothing of the document is run.

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Text with `code` in it.
function rich(text) {
  const parts = (text || '').split('`');
  return make('span', {}, ...parts.map((part, i) => (i % 2 ? make('code', {}, part) : part)));
}

function schemaLink(name) {
  return make('a', {href: `#schema-${name}`}, name);
}

// A schema in one line, as nodes.
function typeOf(schema) {
  if (schema.$ref) return [schemaLink(schema.$ref.split('/').pop())];
  if (schema.allOf) return typeOf(schema.allOf[0]);
  if (schema.anyOf) {
    return schema.anyOf.flatMap((one, i) => (i ? [' or ', ...typeOf(one)] : typeOf(one)));
  }
  if (schema.enum) return [schema.enum.join(', ')];
  if (schema.type === 'array') return ['list of ', ...typeOf(schema.items)];
  if (schema.type === 'object' && schema.additionalProperties) return ['text by name'];
  const type = [].concat(schema.type || 'bytes').join(' or ');
  return [schema.format === 'date-time' ? type.replace('string', 'time') : type];
}

function row(name, notes, ...text) {
  return make('div', {class: 'row'},
    make('dt', {}, make('code', {}, name), notes ? make('span', {class: 'dim'}, ` ${notes}`) : ''),
    make('dd', {}, ...text));
}

function list(title, rows) {
  return rows.length ? [make('h3', {}, title), make('dl', {}, ...rows)] : [];
}

function parameterRows(operation) {
  return (operation.parameters || []).map((p) =>
    row(p.name, p.in + (p.required ? ', required' : ''),
      make('span', {class: 'dim'}, ...typeOf(p.schema)), p.description ? ' · ' : '',
      rich(p.description)));
}

function bodyRows(operation) {
  const content = (operation.requestBody || {}).content || {};
  return Object.entries(content).map(([media, body]) => {
    const fields = Object.entries(body.schema.properties || {});
    return row(media, '', fields.length
      ? rich(fields.map(([name, field]) => `\`${name}\`: ${field.description}`).join(' '))
      : 'The content.');
  });
}

function answerRows(operation) {
  return Object.entries(operation.responses).map(([status, answer]) => {
    const content = Object.entries(answer.content || {});
    const media = content.flatMap(([name, body], i) =>
      [i ? ', ' : '', name, body.schema.$ref || body.schema.allOf ? ' ' : '',
        ...(body.schema.$ref || body.schema.allOf ? typeOf(body.schema) : [])]);
    const headers = Object.keys(answer.headers || {}).filter((name) => name !== 'X-Request-Id');
    return row(status, '', rich(answer.description),
      make('div', {class: 'dim'}, ...media),
      headers.length ? make('div', {class: 'dim'}, `Headers: ${headers.join(', ')}`) : null);
  });
}

function showOperation(path, verb, operation) {
  const inside = make('div', {class: 'inside'});
  const details = make('details', {id: operation.operationId, class: 'operation'},
    make('summary', {},
      make('span', {class: `verb ${verb}`}, verb.toUpperCase()), make('code', {}, path),
      make('span', {class: 'dim'}, operation.summary)), inside);
  details.dataset.words = `${verb} ${path} ${JSON.stringify(operation)}`.toLowerCase();
  details.addEventListener('toggle', () => {
    if (!details.open || inside.firstChild) return;
    inside.append(...(operation.description ? [make('p', {}, rich(operation.description))] : []),
      ...list('Parameters', parameterRows(operation)), ...list('Body', bodyRows(operation)),
      ...list('Answers', answerRows(operation)));
  });
  return details;
}

function showSchema(name, schema) {
  const required = schema.required || [];
  const rows = Object.entries(schema.properties || {}).map(([member, type]) =>
    row(member, required.includes(member) ? '' : 'may be absent',
      make('span', {class: 'dim'}, ...typeOf(type)), type.description ? ' · ' : '',
      rich(type.description)));
  return make('details', {id: `schema-${name}`},
    make('summary', {}, make('code', {}, name), make('span', {class: 'dim'}, schema.description)),
    make('div', {class: 'inside'}, make('dl', {}, ...rows),
      schema.pattern ? make('code', {}, schema.pattern) : ''));
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === 'DETAILS') {
    target.open = true;
    target.scrollIntoView();
  }
}

function search(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const group of document.querySelectorAll('#operations > section')) {
    let shown = 0;
    for (const details of group.querySelectorAll('.operation')) {
      details.hidden = !words.every((word) => details.dataset.words.includes(word));
      shown += details.hidden ? 0 : 1;
    }
    group.hidden = shown === 0;
  }
}

function show(api) {
  const groups = new Map();
  for (const [path, verbs] of Object.entries(api.paths)) {
    for (const [verb, operation] of Object.entries(verbs)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(showOperation(path, verb, operation));
    }
  }
  document.getElementById('version').textContent = api.info.version;
  document.getElementById('about').append(rich(api.info.description));
  const main = document.getElementById('operations');
  const index = document.getElementById('index');
  for (const [tag, operations] of groups) {
    const id = `tag-${tag.toLowerCase().replace(/\W+/g, '-')}`;
    index.append(make('a', {href: `#${id}`}, tag));
    main.append(make('section', {}, make('h2', {id}, tag), ...operations));
  }
  index.append(make('a', {href: '#schemas'}, 'Schemas'));
  document.getElementById('schemas').append(make('h2', {}, 'Schemas'),
    ...Object.entries(api.components.schemas).map(([name, schema]) => showSchema(name, schema)));
  document.getElementById('search').addEventListener('input', (event) => search(event.target.value));
  window.addEventListener('hashchange', openTarget);
  openTarget();
  document.body.dataset.shown = 'true';
}

fetch('/openapi.json').then((answer) => {
  if (!answer.ok) throw new Error(`/openapi.json answers ${answer.status}`);
  return answer.json();
}).then(show).catch((error) => {
  document.getElementById('operations').textContent = `The page cannot be shown: ${error.message}`;
});
