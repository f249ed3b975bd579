// An ElizaOS agent with its real database plugin. Run it in a folder where npm has installed
// @elizaos/plugin-sql: node elizaos_agent.mjs URL NAME STEP. It prints its answer as JSON.
//
// STEP is "start", which migrates and stores the agent with two people who are friends, or "read",
// which lists the relationships of the first one.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.cwd()}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const sql = await load('@elizaos/plugin-sql');
const { createUniqueUuid, stringToUuid } = await load('@elizaos/core');

const [url, name, step] = process.argv.slice(2);
const agentId = stringToUuid(name);
const adapter = sql.createDatabaseAdapter({ postgresUrl: url }, agentId);
await adapter.init();
const [ana, bo] = ['1001', 'default:1002'].map((seed) => createUniqueUuid({ agentId }, seed));
if (step === 'start') {
  const migrations = new sql.DatabaseMigrationService();
  await migrations.initializeWithDatabase(adapter.getDatabase());
  migrations.discoverAndRegisterPluginSchemas([sql.plugin]);
  await migrations.runAllPluginMigrations();
  if (!(await adapter.getAgent(agentId))) {
    await adapter.createAgent({ id: agentId, name, bio: 'A guide of the community' });
    await adapter.createEntities(
      [ana, bo].map((id) => ({ id, agentId, names: ['Somebody'], metadata: {} })),
    );
    await adapter.createRelationship({
      sourceEntityId: ana, targetEntityId: bo, tags: ['friend'], metadata: { strength: 5 },
    });
  }
}
const found = await adapter.getRelationships({ entityId: ana });
const related = found.map(({ sourceEntityId, targetEntityId, tags, metadata }) => (
  { sourceEntityId, targetEntityId, tags, metadata }
));
console.log(JSON.stringify({ agentId, ana, bo, related }));
await adapter.close();
process.exit(0);
