// draws the scenes of each .viewer of the page with 3Dmol.js
document.querySelectorAll('.viewer').forEach(box => {
  const scenes = JSON.parse(box.querySelector('script').textContent)
  const stage = box.querySelector('.stage'), choose = box.querySelector('.choose'), said = box.querySelector('.said')
  const palette = ['#2471a3', '#c0392b', '#1e8449', '#b9770e', '#7d3c98', '#117a65', '#5d6d7e', '#d35400']
  const point = (xyz, i) => ({ x: xyz[3 * i], y: xyz[3 * i + 1], z: xyz[3 * i + 2] })
  let view = null
  try { view = $3Dmol.createViewer(stage, { backgroundColor: 'white', antialias: true }) } catch (error) { /* said below */ }
  if (!view || !stage.querySelector('canvas')) {
    said.textContent = 'This browser cannot draw in three dimensions (WebGL is off).'
    return
  }
  const show = { atoms: true, hydrogens: true, beads: true, size: 1 }
  let scene = scenes[0]

  function atomsOf(scene) {
    const atoms = scene.elements.map((elem, i) => ({
      elem, ...point(scene.xyz, i), serial: i, label: scene.labels[i], bonds: [], bondOrder: [] }))
    for (let k = 0; k < scene.bonds.length; k += 2) {
      const [i, j] = [scene.bonds[k], scene.bonds[k + 1]]
      atoms[i].bonds.push(j); atoms[i].bondOrder.push(1)
      atoms[j].bonds.push(i); atoms[j].bondOrder.push(1)
    }
    return atoms
  }

  function edges(box) {
    const at = (a, b, c) => ({ x: a * box[0] + b * box[3] + c * box[6], y: a * box[1] + b * box[4] + c * box[7], z: a * box[2] + b * box[5] + c * box[8] })
    for (const [u, v] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
      for (const [start, end] of [[at(0, u, v), at(1, u, v)], [at(u, 0, v), at(u, 1, v)], [at(u, v, 0), at(u, v, 1)]]) {
        view.addLine({ start, end, color: '#999999' })
      }
    }
  }

  function draw(turn) {
    const seen = view.getView()
    view.removeAllModels(); view.removeAllShapes(); view.removeAllLabels()
    const many = scene.elements.length > 6000
    if (show.atoms) {
      const model = view.addModel()
      model.addAtoms(atomsOf(scene))
      model.setStyle({}, many ? { line: {} } : { stick: { radius: 0.13 } })
      if (!show.hydrogens) model.setStyle({ elem: 'H' }, {})
      const marked = { serial: scene.focus }
      if (scene.focus.length) model.setStyle(marked, { stick: { radius: 0.13 }, sphere: { radius: 0.45, color: '#e67e22' } })
    }
    if (scene.focus.length === 2) {
      const [start, end] = scene.focus.map(i => point(scene.xyz, i))
      view.addCylinder({ start, end, radius: 0.06, dashed: true, color: '#e67e22' })
    }
    if (scene.beads && show.beads) {
      const names = [...new Set(scene.beads.names)]
      const model = view.addModel()
      model.addAtoms(scene.beads.names.map((name, i) => ({
        elem: 'X', ...point(scene.beads.xyz, i), serial: i, label: scene.beads.labels[i], bead: name, bonds: [], bondOrder: [] })))
      names.forEach((bead, k) => model.setStyle({ bead }, { sphere: {
        radius: scene.beads.radius * show.size, color: palette[k % palette.length], opacity: show.atoms ? 0.55 : 1 } }))
    }
    if (scene.box) edges(scene.box)
    let label = null
    view.setHoverable({}, true,
      atom => { label = label || view.addLabel(atom.label, { position: atom, backgroundColor: '#222222', fontSize: 12 }) },
      () => { if (label) view.removeLabel(label); label = null })
    if (turn) {
      view.zoomTo()
      view.zoom(Math.min(1, 1.3 * stage.clientWidth / stage.clientHeight))  // 3Dmol.js goes by the height alone
      if (scene.focus.length) near()
    } else view.setView(seen)
    view.render()
  }

  function near() {  // what is within 6 A of the marked atoms fills the view
    const middle = [0, 1, 2].map(k => scene.focus.reduce((sum, i) => sum + scene.xyz[3 * i + k], 0) / scene.focus.length)
    const close = scene.elements.map((_, i) => i).filter(i => Math.hypot(...middle.map((m, k) => scene.xyz[3 * i + k] - m)) < 6)
    view.zoomTo({ serial: close })
  }

  function button(text, click) {
    const one = document.createElement('button')
    one.type = 'button'; one.textContent = text; one.onclick = () => click(one)
    choose.append(one)
    return one
  }
  if (scenes.length > 1) {
    const buttons = scenes.map(other => button(other.title, one => {
      scene = other
      buttons.forEach(b => b.setAttribute('aria-pressed', b === one))
      draw(true)
    }))
    buttons[0].setAttribute('aria-pressed', true)
  }
  function toggle(text, key) {
    const one = button(text, () => { show[key] = !show[key]; one.setAttribute('aria-pressed', show[key]); draw(false) })
    one.setAttribute('aria-pressed', true)
  }
  if (scenes.some(s => s.beads)) {
    toggle('atoms', 'atoms'); toggle('hydrogens', 'hydrogens'); toggle('beads', 'beads')
    const size = Object.assign(document.createElement('input'), { type: 'range', min: 0.3, max: 2.5, step: 0.1, value: 1 })
    size.oninput = () => { show.size = Number(size.value); draw(false) }
    const label = document.createElement('label')
    label.append('size of beads ', size)
    choose.append(label)
    const names = [...new Set(scenes[0].beads.names)]
    const legend = document.createElement('p')
    names.forEach((name, k) => {
      const one = document.createElement('span')
      one.textContent = '\u25CF ' + name + '  '; one.style.color = palette[k % palette.length]
      legend.append(one)
    })
    said.before(legend)
  }
  draw(true)
  box.view = view
  addEventListener('resize', () => view.resize())
})
