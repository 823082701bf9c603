(function () {
  'use strict';
  var root = document.documentElement, button = document.getElementById('theme'), system = matchMedia('(prefers-color-scheme: dark)');
  function dark() { return root.dataset.theme ? root.dataset.theme === 'dark' : system.matches; }
  function theme() { button.textContent = dark() ? 'Light' : 'Dark'; button.setAttribute('aria-pressed', String(dark())); }
  try { var kept = localStorage.getItem('ravn-theme'); if (kept === 'dark' || kept === 'light') root.dataset.theme = kept; } catch (e) {}
  button.hidden = false; theme(); system.addEventListener('change', theme);
  button.addEventListener('click', function () {
    root.dataset.theme = dark() ? 'light' : 'dark';
    try { localStorage.setItem('ravn-theme', root.dataset.theme); } catch (e) {}
    theme();
  });

  var table = document.querySelector('.board'), body = table.tBodies[0], heads = Array.from(table.tHead.rows[0].cells);
  var byID = function (id) { return document.getElementById(id); };
  var rows = Array.from(body.rows).map(function (tr, i) {
    return {
      tr: tr, place: i, name: tr.querySelector('.name').textContent, size: Number(tr.dataset.p), type: tr.dataset.t || 'unknown', license: tr.dataset.l || 'unknown',
      clean: !('c' in tr.dataset), complete: 'a' in tr.dataset, rank: Number(tr.cells[0].textContent), shown: true,
      values: Array.from(tr.cells).slice(3).map(function (td) { return td.dataset.v === undefined ? NaN : Number(td.dataset.v); })
    };
  });

  // Sorting: numbers fall first and rise then, names and places rise first; what is missing stays below.
  function value(row, column) {
    var kind = heads[column].dataset.kind;
    if (kind === 'rank') return row.place;
    if (kind === 'text') return row.name.toLowerCase();
    if (kind === 'size') return row.size || NaN;
    return row.values[column - 3];
  }
  function sort(column, down) {
    var sign = down ? -1 : 1;
    rows.sort(function (a, b) {
      var x = value(a, column), y = value(b, column);
      if (typeof x === 'number') {
        if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y) || a.place - b.place;
        return sign * (x - y) || a.place - b.place;
      }
      return sign * x.localeCompare(y) || a.place - b.place;
    });
    var all = document.createDocumentFragment();
    rows.forEach(function (r) { all.appendChild(r.tr); });
    body.appendChild(all);
    heads.forEach(function (th, i) { if (i === column) th.setAttribute('aria-sort', down ? 'descending' : 'ascending'); else th.removeAttribute('aria-sort'); });
  }
  heads.forEach(function (th, i) {
    var b = document.createElement('button');
    b.type = 'button';
    while (th.firstChild) b.appendChild(th.firstChild);
    th.appendChild(b);
    b.addEventListener('click', function () {
      var now = th.getAttribute('aria-sort'), first = th.dataset.kind === 'rank' || th.dataset.kind === 'text' || 'low' in th.dataset ? 'ascending' : 'descending';
      sort(i, now ? now === 'ascending' : first === 'descending');
    });
  });
  heads[0].setAttribute('aria-sort', 'ascending');

  function filter() {
    var find = byID('find').value.toLowerCase(), size = byID('size').value, type = byID('type').value, license = byID('license').value;
    var range = size && size !== 'unknown' ? size.split(',').map(Number) : null, n = 0;
    rows.forEach(function (r) {
      r.shown = r.name.toLowerCase().includes(find) && (!type || r.type === type) && (!license || r.license === license) &&
        (table.dataset.view === 'g0' || !r.tr.classList.contains('published')) &&
        (!byID('complete').checked || r.complete) && (!byID('clean').checked || r.clean) &&
        (size !== 'unknown' || !r.size) && (!range || r.size >= range[0] && r.size < range[1] && r.size > 0);
      r.tr.hidden = !r.shown;
      if (r.shown) n++;
    });
    byID('count').textContent = n + ' of ' + rows.length + ' rows';
    draw();
  }
  byID('controls').addEventListener('input', filter);
  document.querySelectorAll('input[name=view]').forEach(function (input) {
    input.addEventListener('change', function () { table.dataset.view = input.value; filter(); });
  });

  // The scatter is made of the rows shown.
  var svg = byID('scatter'), NS = 'http://www.w3.org/2000/svg', left = 44, top = 14, right, bottom;
  function add(to, name, attributes, text) {
    var e = document.createElementNS(NS, name);
    Object.keys(attributes).forEach(function (k) { e.setAttribute(k, attributes[k]); });
    if (text !== undefined) e.textContent = text;
    to.appendChild(e);
    return e;
  }
  function short(n) { return n >= 1e9 ? +(n / 1e9).toPrecision(3) + 'B' : n >= 1e6 ? +(n / 1e6).toPrecision(3) + 'M' : +(n / 1e3).toPrecision(3) + 'k'; }
  var types = Array.from(new Set(rows.map(function (r) { return r.type; }))).sort();
  function shape(k, x, y, r) { // about r wide on each side
    switch (k % 4) {
      case 1: return 'M' + (x - r) + ' ' + (y - r) + 'h' + 2 * r + 'v' + 2 * r + 'h' + -2 * r + 'z';
      case 2: return 'M' + x + ' ' + (y - 1.3 * r) + 'L' + (x + 1.3 * r) + ' ' + (y + r) + 'H' + (x - 1.3 * r) + 'z';
      case 3: return 'M' + x + ' ' + (y - 1.3 * r) + 'L' + (x + 1.3 * r) + ' ' + y + 'L' + x + ' ' + (y + 1.3 * r) + 'L' + (x - 1.3 * r) + ' ' + y + 'z';
    }
    return 'M' + (x - r) + ' ' + y + 'a' + r + ' ' + r + ' 0 1 0 ' + 2 * r + ' 0a' + r + ' ' + r + ' 0 1 0 ' + -2 * r + ' 0z';
  }
  function draw() {
    var width = Math.max(300, svg.clientWidth), height = Math.max(240, svg.clientHeight);
    svg.setAttribute('viewBox', '0 0 ' + width + ' ' + height);
    right = width - 12; bottom = height - 50;
    svg.textContent = '';
    byID('pointed').textContent = '';
    var column = Number(byID('yaxis').value);
    var points = rows.filter(function (r) { return r.shown && r.size > 0 && !isNaN(r.values[column]); }).sort(function (a, b) { return a.size - b.size || a.place - b.place; });
    var shown = rows.filter(function (r) { return r.shown; }).length;
    byID('undrawn').textContent = points.length + ' of ' + shown + ' rows drawn' + (points.length < shown ? '; of the others size or score is unknown' : '');
    if (!points.length) {
      add(svg, 'text', {x: width / 2, y: height / 2, 'text-anchor': 'middle', class: 'tick'}, 'Nothing to draw.');
      return;
    }
    var legend = types.filter(function (t) { return points.some(function (r) { return r.type === t; }); });
    top = legend.length < 2 ? 14 : width < 500 ? 58 : 34;
    var low = Infinity, high = -Infinity, from = Infinity, to = 0;
    points.forEach(function (r) {
      var i = r.tr.cells[column + 3].dataset.i;
      r.interval = i ? i.split(',').map(Number) : [r.values[column], r.values[column]];
      low = Math.min(low, r.interval[0]); high = Math.max(high, r.interval[1]); from = Math.min(from, r.size); to = Math.max(to, r.size);
    });
    var step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50].find(function (s) { return (high - low) / s <= 6; }) || 100;
    low = Math.floor(low / step) * step; high = Math.ceil(high / step) * step; if (high === low) high += step;
    from = Math.log10(from) - 0.12; to = Math.log10(to) + 0.12;
    var x = function (n) { return left + (Math.log10(n) - from) / (to - from) * (right - left); };
    var y = function (v) { return bottom - (v - low) / (high - low) * (bottom - top); };
    for (var v = low; v <= high + 1e-9; v += step) {
      add(svg, 'line', {class: 'grid', x1: left, x2: right, y1: y(v), y2: y(v)});
      add(svg, 'text', {class: 'tick', x: left - 8, y: y(v) + 5, 'text-anchor': 'end'}, String(+v.toFixed(2)));
    }
    var last = -Infinity, many = to - from > 2.5;
    for (var d = Math.floor(from); d <= to; d++) (many ? [1] : [1, 2, 5]).forEach(function (m) {
      var n = m * Math.pow(10, d), at = x(n);
      if (at < left || at > right || at - last < 60) return;
      last = at;
      add(svg, 'line', {class: 'grid', x1: at, x2: at, y1: top, y2: bottom});
      add(svg, 'text', {class: 'tick', x: at, y: bottom + 20, 'text-anchor': 'middle'}, short(n));
    });
    add(svg, 'line', {class: 'axis', x1: left, x2: right, y1: bottom, y2: bottom});
    add(svg, 'text', {class: 'tick', x: (left + right) / 2, y: bottom + 42, 'text-anchor': 'middle'}, 'parameters');
    var marks = [];
    points.forEach(function (r, k) {
      var t = types.indexOf(r.type), a = add(svg, 'a', {class: 't' + t % 6, href: '#', tabindex: k ? -1 : 0});
      var words = r.name + ': ' + r.values[column].toFixed(2) + (r.interval[0] < r.interval[1] ? ', ' + r.interval[0].toFixed(2) + ' to ' + r.interval[1].toFixed(2) : '') + ', ' + short(r.size) + ' parameters' + (r.type === 'unknown' ? '' : ', ' + r.type.replace('_', ' '));
      a.setAttribute('aria-label', words);
      add(a, 'line', {class: 'whisker', x1: x(r.size), x2: x(r.size), y1: y(r.interval[0]), y2: y(r.interval[1])});
      add(a, 'path', {class: 'mark', d: shape(t, x(r.size), y(r.values[column]), width < 500 ? 4 : 6)});
      add(a, 'title', {}, words);
      a.addEventListener('focus', function () { byID('pointed').textContent = words; marks.forEach(function (m) { m.setAttribute('tabindex', m === a ? 0 : -1); }); });
      a.addEventListener('mouseenter', function () { byID('pointed').textContent = words; });
      a.addEventListener('click', function (e) {
        e.preventDefault();
        rows.forEach(function (o) { o.tr.classList.toggle('target', o === r); });
        r.tr.scrollIntoView({block: 'center', inline: 'nearest'});
      });
      a.addEventListener('keydown', function (e) {
        var to = {ArrowRight: k + 1, ArrowDown: k + 1, ArrowLeft: k - 1, ArrowUp: k - 1, Home: 0, End: points.length - 1}[e.key];
        if (to === undefined) return;
        e.preventDefault();
        if (marks[to]) marks[to].focus();
      });
      marks.push(a);
    });
    if (legend.length > 1) {
      var at = left + 8, line = 14;
      legend.forEach(function (t) {
        var k = types.indexOf(t), g = add(svg, 'a', {class: 't' + k % 6, 'aria-hidden': 'true'});
        add(g, 'path', {class: 'mark', d: 'M0 0'});
        var words = add(svg, 'text', {class: 'name'}, t.replace('_', ' ')), wide = words.getComputedTextLength();
        if (at + 14 + wide > right && at > left + 8) { at = left + 8; line += 20; }
        g.firstChild.setAttribute('d', shape(k, at, line - 5, 6));
        words.setAttribute('x', at + 12);
        words.setAttribute('y', line);
        at += 32 + wide;
      });
    }
  }
  byID('yaxis').addEventListener('change', draw);
  addEventListener('resize', draw);
  filter();
})();
