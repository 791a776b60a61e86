//! What a manifest may claim: every claim that does not need the layers themselves is checked here, once. Code that
//! works with a manifest relies on it.

use super::{
    LAYER_MEDIA_TYPE, LayerKind, Manifest, Program, RESERVED, Revision, SCHEMA, Slot, is_command_name,
};
use crate::format::recipe::Recipe;
use crate::format::{sections, template};

impl Manifest {
    /// The first wrong claim, as the end of a sentence.
    pub(super) fn check(&self, payload_size: u64) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("schema {} is not {SCHEMA}", self.schema));
        }
        self.check_layers(payload_size)?;
        self.check_python()?;
        self.check_plan()?;
        self.image.check()?;
        self.production.check(|name| self.commands.contains_key(name))?;
        self.recipe.as_ref().map_or(Ok(()), Recipe::check)?;
        if let Some(default) = &self.default
            && !self.commands.contains_key(default)
        {
            return Err(format!("the default command {default:?} does not exist"));
        }
        if let Some(name) = self.commands.keys().find(|name| !is_command_name(name)) {
            return Err(format!("{name:?} cannot be the name of a command"));
        }
        let strange = |name: &str| name.is_empty() || name.contains(['=', '\0']);
        let of_commands = || self.commands.values().flat_map(|command| &command.variables);
        let mut variables = self.environment.variables.iter().chain(of_commands());
        if let Some((name, _)) = variables.find(|(name, _)| strange(name)) {
            return Err(format!("{name:?} cannot be the name of a variable"));
        }
        let values = self.environment.variables.values().chain(of_commands().map(|(_, value)| value));
        let mut texts = values.chain(self.commands.values().flat_map(|command| &command.args));
        if texts.any(|text| text.contains('\0')) {
            return Err("a variable or an argument holds a NUL byte".into());
        }
        self.check_templates()?;
        self.check_source()
    }

    fn check_templates(&self) -> Result<(), String> {
        for command in self.commands.values().filter(|command| command.expand) {
            let mut texts = command.args.iter().chain(command.variables.values());
            if let Some(text) = texts.find(|text| template::parse(text).is_none()) {
                return Err(format!("the argument {text:?} names a variable in a way that does not exist"));
            }
        }
        Ok(())
    }

    fn check_source(&self) -> Result<(), String> {
        let Some(Revision { commit, .. }) = &self.source else { return Ok(()) };
        let digits = commit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match digits && matches!(commit.len(), 40 | 64) {
            true => Ok(()),
            false => Err(format!("{commit:?} is not the id of a commit")),
        }
    }

    fn check_layers(&self, payload_size: u64) -> Result<(), String> {
        let mut end = 0;
        for (index, layer) in self.layers.iter().enumerate() {
            let name = &layer.name;
            if (index == 0) != (layer.kind == LayerKind::Runtime) {
                return Err("the first layer, and no other, is the runtime".into());
            }
            if index != 1 && layer.kind == LayerKind::Libraries {
                return Err(format!("the layer {name:?} of libraries does not follow the runtime"));
            }
            if layer.media_type != LAYER_MEDIA_TYPE {
                return Err(format!("the layer {name:?} has the media type {:?}", layer.media_type));
            }
            let next = layer.offset.checked_add(layer.size).filter(|next| *next <= payload_size);
            if layer.offset < end || layer.offset % sections::ALIGNMENT != 0 {
                return Err(format!("the layer {name:?} is not where a layer can begin"));
            }
            end = next.ok_or_else(|| format!("the layer {name:?} goes past the end of the payload"))?;
            if index == 0 && !layer.programs.is_empty() {
                return Err("the runtime has programs beside its interpreter".into());
            }
            let impossible = |program: &Program| {
                !is_possible(program.loader_slot) || !is_possible(program.search_path_slot)
            };
            if let Some((path, _)) = layer.programs.iter().find(|(_, program)| impossible(program)) {
                return Err(format!("a slot in {path} is impossible"));
            }
        }
        // No sum of sizes that is computed later can overflow.
        let total = self.layers.iter().try_fold(0u64, |sum, layer| sum.checked_add(layer.unpacked_size));
        match total {
            _ if self.layers.is_empty() => Err("it has no layers".into()),
            None => Err("the layers are too large together".into()),
            Some(_) => Ok(()),
        }
    }

    fn check_python(&self) -> Result<(), String> {
        let python = &self.python;
        let files = [&python.executable, &python.loader];
        if files.into_iter().chain(&python.search_path).any(|path| path.top() != "python") {
            return Err("a path of the runtime is outside python/".into());
        }
        if !is_possible(python.loader_slot) || !is_possible(python.search_path_slot) {
            return Err("a slot in the interpreter is impossible".into());
        }
        Ok(())
    }

    fn check_plan(&self) -> Result<(), String> {
        let plan = &self.environment;
        for (path, source) in plan.links.iter().chain(&plan.scripts) {
            let layer = self.layers.get(source.layer);
            let layer = layer.ok_or_else(|| format!("{path} is in a layer that does not exist"))?;
            if matches!(layer.kind, LayerKind::Runtime | LayerKind::Libraries) {
                return Err(format!("{path} is linked into the runtime"));
            }
            if RESERVED.iter().any(|taken| **path == **taken || path.below(taken).is_some()) {
                return Err(format!("{path} is not for a layer to provide"));
            }
            let mut above = path.parent();
            while let Some(directory) = above {
                if plan.links.contains_key(&directory) || plan.scripts.contains_key(&directory) {
                    return Err(format!("{path} lies below {directory}, which is a link itself"));
                }
                above = directory.parent();
            }
            if plan.links.contains_key(path) && plan.scripts.contains_key(path) {
                return Err(format!("{path} is a link and a script"));
            }
        }
        Ok(())
    }
}

fn is_possible(slot: Slot) -> bool {
    slot.size > 0 && slot.size <= 1 << 20 && slot.offset.checked_add(slot.size).is_some()
}
